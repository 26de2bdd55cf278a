"""The words that the sample documents are made of, cut into a part for training and one that only dev has."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

SURNAMES = """
Abadi Achterberg Adeyemi Aldous Almeida Amundsen Andersson Aoki Arriaga Ba Balcázar Baudouin Becker Bellini Berg
Bhattacharya Blanchard Boltz Bouchard Brandt Brischoux Bustos Cao Carvalho Castaño Cavalli Chakraborty Chen
Chevalier Choi Cisneros Cohen Cormack Czarnecki Dahlberg Das Daugaard Delacroix Demir Deschamps Dimitrov Dlamini
Dominguez Duarte Eberhard Edlund Eguchi El-Sayed Engström Eriksen Etxeberria Farah Faure Fernández Fiala Fischer
Flores Fontaine Fraser Fujimoto Galli García Gauthier Gbadamosi Ghosh Giordano Gómez Goldberg Goto Grönroos Guo
Gupta Haas Hadjiev Hagen Halász Hansen Harper Hashimoto Hernández Hoffmann Holm Horvat Huang Hussain Ibarra Ibrahim
Ilves Ishikawa Iyer Jablonski Jansen Jiménez Johansson Jović Kaczmarek Kamau Karlsson Kasprzak Katz Kawasaki Keller
Khalil Kim Kimura Kirsch Klein Kobayashi Kovács Kowalska Krüger Kučera Kumar Laaksonen Lambert Larsen Leclerc Lee
Lefèvre Lehmann Li Lindqvist Lopes Łuczak MacLeod Mahfouz Maier Malik Marchetti Marković Martin Matsuda Mbeki
McAllister Mendes Meyer Milošević Mitchell Mohammadi Molina Moreau Müller Nakamura Navarro Ndiaye Neumann Nguyen
Nielsen Novák Nowak Nygård O'Brien O'Connor Ochoa Okafor Olsen Oliveira Ono Orlov Ortega Osei Østergaard Pacheco
Palmer Papadopoulos Park Patel Pereira Petrov Pham Pichler Popescu Prasad Quiroga Rahman Rajan Ramírez Rao Rasmussen
Reis Richter Rinaldi Rojas Romero Rossi Roux Rutkowski Saito Salazar Sánchez Santos Sarkar Sato Schmidt Schneider
Schröder Sharma Silva Singh Škoda Sokolov Solon Sørensen Souza Steiner Strömberg Sun Suzuki Svensson Szabó Takahashi
Tan Tanaka Thapa Tóth Tran Ueda Urbano Vainio Valdez Varga Vasquez Vidal Vogel Volkov Wagner Walsh Wang Watanabe
Weiß Whitfield Wiśniewski Wójcik Wong Wu Yamada Yang Yıldız Yılmaz Zamora Zhang Zhao Zhou Ziegler Živković
""".split()

PARTICLES = ["van", "van der", "von", "de", "de la", "di", "da", "al-", "ten", "del"]

GIVEN = """
Aaron Abena Adaeze Agnieszka Aiko Alejandro Alice Amina Ana Anders Andrei Anita Anneli Antoine Aravind Ayşe Beatriz
Benjamin Bente Bogdan Camille Carlos Catherine Chiara Chloé Claudia Daniel Daria David Deepa Diego Dmitri Dorota
Edith Elena Elif Emeka Emma Erik Esther Fatima Felix Fernando Fiona Florence Gabriel Giulia Goran Grace Günther Hana
Hannah Haruto Hélène Henrik Ines Ingrid Isabel Ivan James Jan Jean-Pierre Jelena Jin Johanna John Jorge José Julia
Karin Katarina Kenji Kwame Lars Laura Leila Lena Lin Louise Lucía Magnus Manuel Marek Margaret María Marie-Claire
Martha Mateo Mei Michael Mikhail Min-jun Miriam Nadia Naoko Nikolai Nina Nora Olga Oluwaseun Omar Oscar Paolo Paul
Pedro Peter Petra Priya Rafael Ravi Rebecca Robert Rosa Ruth Samuel Sanjay Sara Sebastian Simone Sofia Stefan Susan
Sven Tadashi Tatiana Teresa Thandiwe Thomas Tomás Valentina Vera Victor Wei Wilhelm William Xin Yuki Yusuf Zeynep
Zofia
""".split()

ADJECTIVES = """
adaptive alpine ambient annual arid asymmetric autonomous axonal bacterial benthic boreal catalytic causal central
chronic clinical coastal collective colonial comparative competing conditional convex cooperative cortical
cross-cultural crystalline deep delayed dense diffuse digital distributed dopaminergic early ecological elastic
electoral embedded endemic epistemic ethnographic experimental ferroelectric fiscal flexible fluctuating forensic
fractional gendered genomic geometric glacial global graphical growing hepatic hidden hierarchical high-resolution
historical hybrid hydraulic immune incremental indigenous industrial inflammatory informal integrated intermittent
intracellular invasive invariant isotopic joint judicial large-scale late latent lexical linear linguistic local
longitudinal low-rank magnetic marine maternal medieval metabolic microbial minimal mobile modern molecular monetary
multilingual multiscale narrative neonatal neural nocturnal nonlinear nuclear nutritional optical oral organic
parametric partial paternal pelagic peripheral photonic pluvial political porous postwar predictive prenatal
probabilistic prosodic public quantum random rapid recurrent regional relational renal residual resilient rural
seasonal self-organized semantic sequential shallow short-term social sparse spatial spectral stochastic structural
subcortical sustainable symbolic synaptic synthetic temporal thermal topological transient tropical turbulent urban
variable vascular viral visual volcanic weak
""".split()

NOUNS = """
absorption adaptation adhesion admixture adolescence agriculture algorithms allocation ambiguity anatomy annotation
antibodies archives attention autonomy bargaining behaviour biomarkers biodiversity boundaries brokerage calibration
capital catalysis cities citizenship climate clustering coalitions coastlines codes cognition collisions combustion
communities compilers complexity compression computation conduction conflict consensus conservation contagion
convergence corrosion corruption currencies decay decision-making deforestation democracy density depression
detection diets diffusion disease dispersal displacement diversity drainage drift dynamics economies education
elections embeddings emissions encoding enzymes epidemics equilibria erosion estimation ethics evaporation evidence
evolution exchange expression families fatigue fermentation fertility fields filtering fisheries flow folklore
forests formalism friction gels genes genres glaciers governance grammar graphs groundwater growth habitats harvest
health heterogeneity hormones households housing identity imaging immunity incentives inequality inference inflation
inheritance institutions insulin integration interfaces invasion kinship knowledge labour landscapes language law
learning lesions literacy literature logic loss mapping markets masculinity materials measurement mechanics media
memory metabolism methods migration mitochondria mobility models monasteries mortality motion mutations myths
nanoparticles networks neurons nitrogen nutrition obesity observation ontologies optimization organelles
oscillations outcomes oxidation parasites parsing participation particles patents perception performance phonology
pigments planning plasticity policy pollen pollination pollution poverty predation prediction pricing privacy prose
proteins pulses punishment radiation receptors reform refugees regression regulation rehabilitation relapse religion
representation resistance respiration retrieval rhetoric ritual rivers robustness salinity sampling schooling
security sediments segmentation selection senescence settlements signals simulation sleep soils solubility
sovereignty speech stability statistics storage stratigraphy stress substrates supervision surfaces survival
symmetry synthesis taxation temperature texts tissues tolerance tourism toxicity trade transcription transfer
translation transport trauma trust uncertainty unemployment vaccination variation vegetation velocity verbs violence
viscosity vocabulary voting water weather welfare wetlands wheat witnesses work
""".split()

PLACES_STUDIED = [
    "Andean valleys", "the Baltic Sea", "sub-Saharan Africa", "northern Italy", "the Mekong Delta", "rural Bangladesh",
    "Ottoman Anatolia", "the Brazilian Cerrado", "postwar Japan", "Central Europe", "the Canadian Arctic", "Lake Victoria",
    "the Iberian Peninsula", "early modern England", "the Tibetan Plateau", "West Bengal", "the North Atlantic",
    "Soviet Ukraine", "the Great Plains", "southern Chile", "zebrafish larvae", "Drosophila melanogaster", "patients over 65",
    "CD4+ T cells", "small open economies", "multi-agent systems", "graph neural networks", "low-resource settings",
]  # fmt: skip

FOREIGN_TITLES = [
    "Être et temps", "La construction sociale de la réalité", "Die Struktur der wissenschaftlichen Revolutionen",
    "Untersuchungen über die Grundlagen der Thermodynamik", "Los hijos del limo", "Histoire de la folie à l'âge classique",
    "Il formaggio e i vermi", "Wirtschaft und Gesellschaft", "El otoño de la economía mundial", "Les lieux de mémoire",
    "Zur Theorie der linearen Integralgleichungen", "O processo de urbanização no Brasil", "Bidrag till Sveriges flora",
    "Teoria dei numeri e geometria", "Raport o stanie środowiska", "Les structures élémentaires de la parenté",
    "Über die Natur der chemischen Bindung", "La formación de la clase obrera", "Estudos sobre a língua portuguesa",
    "Beiträge zur Geschichte der deutschen Sprache", "Monographie des poissons d'eau douce", "Le règne végétal",
]  # fmt: skip

DISCIPLINES = """
Acoustics|Anthropology|Applied Physics|Archaeology|Astronomy|Biochemistry|Biological Chemistry|Botany|Cell Biology|
Chemical Physics|Clinical Nutrition|Cognitive Science|Comparative Literature|Computational Linguistics|Criminology|
Crystallography|Demography|Developmental Psychology|Earth Sciences|Ecology|Econometrics|Economic History|
Endodontics|Energy Research|Entomology|Environmental Law|Epidemiology|Experimental Medicine|Family Studies|
Fluid Mechanics|Functional Analysis|Genetics|Geochemistry|Geophysics|Glaciology|Graph Theory|Hydrology|Immunology|
Infectious Diseases|Information Systems|Labor Economics|Linguistics|Machine Learning|Marine Biology|
Materials Science|Mathematical Logic|Medical Ethics|Medieval History|Microbiology|Modern Philology|
Molecular Biology|Musicology|Neuroscience|Number Theory|Nuclear Medicine|Oceanography|Operations Research|Optics|
Ornithology|Paleontology|Parallel Computing|Parasitology|Pattern Recognition|Pediatrics|Pharmacology|Phonetics|
Plant Physiology|Political Theory|Polymer Science|Public Health|Quantum Information|Radiology|Religious Studies|
Rheology|Robotics|Rural Sociology|Sedimentology|Social Psychology|Soil Science|Speech Communication|
Statistical Physics|Surgery|Toxicology|Urban Studies|Veterinary Science|Virology|Visual Communication|
Wildlife Management|Zoology
""".replace("\n", "").split("|")

JOURNAL_SHAPES = [
    "Journal of {}", "Journal of {}", "Annals of {}", "{} Letters", "International Journal of {}", "European Journal of {}",
    "Annual Review of {}", "{} Research", "Archives of {}", "Advances in {}", "The {} Quarterly", "{}", "Nordic {}",
    "American Journal of {}", "Trends in {}", "Zeitschrift für {}", "Revista de {}", "Transactions on {}", "{} Today",
]  # fmt: skip

JOURNALS_BY_THEMSELVES = [
    "Nature", "Science", "PLoS ONE", "Proc Natl Acad Sci U S A", "The Lancet", "Cell", "J. Am. Chem. Soc.", "IJCV",
    "Phys. Rev. Lett.", "BMJ", "Nano Lett.", "Past & Present", "Daedalus", "eLife", "Neuron", "Isis", "Mind", "TODS",
    "Deutsche Bauzeitung", "Annales ESC", "Word", "Bioinformatics", "Gut", "SIAM Review", "Chaos", "J Endod", "PMLA",
]  # fmt: skip

PUBLISHERS = """
Academic Press|Addison-Wesley|Akadémiai Kiadó|Blackwell|Brill|Cambridge University Press|CRC Press|De Gruyter|
Duke University Press|Éditions du Seuil|Edward Elgar|Einaudi|Elsevier|Fondo de Cultura Económica|Gallimard|
Harper & Row|Harvard University Press|Hermann|Johns Hopkins University Press|John Wiley & Sons|
Kluwer Academic Publishers|L'Harmattan|McGraw-Hill|MIT Press|Morgan Kaufmann|Mouton|North-Holland|
Oxford University Press|Palgrave Macmillan|Pearson|Penguin|Pergamon Press|Peter Lang|Plenum|Prentice Hall|
Princeton University Press|Routledge|SAGE|Springer-Verlag|Springer|Suhrkamp|Taylor & Francis|
The University of Chicago Press|University of California Press|Universitetsforlaget|Vrin|W. W. Norton|
Wiley-Blackwell|World Scientific|Yale University Press
""".replace("\n", "").split("|")

CITIES = """
Amsterdam|Ann Arbor, MI|Athens|Barcelona|Berkeley|Berlin|Boston|Boca Raton, FL|Bruxelles|Budapest|Buenos Aires|
Cambridge|Cambridge, MA|Cambridge, UK|Chicago|Dordrecht|Durham, NC|Edinburgh|Englewood Cliffs, NJ|Frankfurt am Main|
Genève|Hillsdale, NJ|Hong Kong|Kraków|Leiden|Lisboa|London|London and New York|Los Altos, CA|Madrid|Malden, Mass.|
México|Milano|München|New Delhi|New Haven|New York|New York, NY|Oslo|Oxford|Paris|Philadelphia|Praha|Princeton, NJ|
Reading, MA|Roma|San Diego|San Francisco|Singapore|Stockholm|Stuttgart|The Hague|Tokyo|Torino|Toronto|Tübingen|
Utrecht|Warszawa|Washington, D.C.|Wien|Zürich
""".replace("\n", "").split("|")

UNIVERSITIES = """
University of Oslo|Stanford University|Universidad de Chile|ETH Zürich|University of Cape Town|Kyoto University|
Université de Montréal|University of Wisconsin–Madison|Technische Universität München|University of Ibadan|
National Taiwan University|Universidade de São Paulo|University of Edinburgh|Indian Institute of Science|
Uppsala universitet|Carnegie Mellon University|Boğaziçi University|McGill University|University of Warsaw|MIT
""".replace("\n", "").split("|")

VENUES = """
ACL|AAAI|CHI|COLING|CVPR|ECAI|ECCV|EMNLP|FOCS|ICASSP|ICCV|ICDE|ICML|ICRA|IJCAI|INTERSPEECH|IROS|JCDL|KDD|LREC|
NeurIPS|OSDI|PLDI|POPL|SIGCOMM|SIGIR|SIGMOD|SODA|SOSP|STOC|UAI|UIST|USENIX ATC|VLDB|WWW
""".replace("\n", "").split("|")

MONTHS = "January February March April May June July August September October November December".split()
SMALL_WORDS = frozenset("a an and as at by for from in of on or the to with".split())


@dataclass(frozen=True)
class Words:
    """What a split may draw from. Dev has the words of training and some that training has not."""

    surnames: Sequence[str]
    given: Sequence[str]
    adjectives: Sequence[str]
    nouns: Sequence[str]
    disciplines: Sequence[str]
    publishers: Sequence[str]
    cities: Sequence[str]
    journals: Sequence[str]
    foreign: Sequence[str]


def words_for(split: str) -> Words:
    """Return the words of ``"train"`` (half of each list) or of ``"dev"`` (all of them)."""
    lists = (
        SURNAMES, GIVEN, ADJECTIVES, NOUNS, DISCIPLINES, PUBLISHERS, CITIES, JOURNALS_BY_THEMSELVES, FOREIGN_TITLES,
    )  # fmt: skip
    return Words(*(_part(words, split) for words in lists))


def _part(words: Sequence[str], split: str) -> list[str]:
    mixed = sorted(set(words))
    random.Random(len(mixed)).shuffle(mixed)
    return mixed if split == "dev" else mixed[: len(mixed) // 2]


def title(rng: random.Random, words: Words) -> str:
    """Return the title of a work, in sentence case."""
    if rng.random() < 0.06:
        return rng.choice(words.foreign)
    adjective, other = rng.sample(words.adjectives, 2)
    noun, second, third = rng.sample(words.nouns, 3)
    place = rng.choice(PLACES_STUDIED)
    acronym = "".join(rng.choice("ABCDEFGHILMNOPRST") for _ in range(rng.randint(3, 5)))
    shape = rng.choice(
        [
            f"{adjective} {noun} and the {second} of {third}",
            f"on the {noun} of {adjective} {second}",
            f"{adjective} {noun} in {place}",
            f"{noun} and {second} in {place}: a {adjective} study",
            f"a {adjective} approach to {noun}",
            f"{acronym}: {adjective} {noun} for {other} {second}",
            f"effects of {adjective} {noun} on {second} in {place}",
            f"how {noun} shapes {second}: evidence from {place}",
            f"towards {adjective} {noun}",
            f"{noun}, {second}, and {third}",
            f"is {adjective} {noun} a cause of {second}?",
            f"the {noun} of {second}. {adjective} and {other} perspectives",
            f"{adjective} {noun} by {other} {second}, {rng.randint(1780, 1960)}–{rng.randint(1961, 1999)}",
            f"estimation of {noun} under {adjective} {second}",
            f"an introduction to {adjective} {noun}",
            f"“{noun}” revisited: {adjective} {second} after {rng.randint(1850, 2010)}",
            f"{noun}",
            f"part {rng.choice(['I', 'II', 'III'])}: {adjective} {noun} with {second}",
        ]
    )
    shape = re.sub(r"\b([Aa]) (?=[aeiou])", r"\1n ", shape)
    return shape[0].upper() + shape[1:]


def headline(text: str) -> str:
    """Return ``text`` with capitals as in headlines."""
    parts = text.split(" ")
    return " ".join(p if i and p in SMALL_WORDS else p[:1].upper() + p[1:] for i, p in enumerate(parts))


def journal(rng: random.Random, words: Words) -> str:
    """Return the name of a journal, at times cut to its ISO 4 look."""
    if rng.random() < 0.25:
        return rng.choice(words.journals)
    name = rng.choice(JOURNAL_SHAPES).format(rng.choice(words.disciplines))
    return shortened(name, rng) if rng.random() < 0.35 else name


def shortened(name: str, rng: random.Random) -> str:
    """Return ``name`` with its words cut, with or without full stops."""
    dot = rng.choice([".", ""])
    kept = [word for word in name.split() if word not in SMALL_WORDS and word != "The"]
    return " ".join(word if len(word) < 5 else word[: rng.randint(3, 5)] + dot for word in kept)


def sentence(rng: random.Random, words: Words) -> str:
    """Return a sentence as papers have them, with a citation or a figure in some."""
    a, b = rng.sample(words.adjectives, 2)
    n, m, k = rng.sample(words.nouns, 3)
    number = f"{rng.randint(1, 99)}.{rng.randint(0, 9)}"
    cited = rng.choice(
        ["", "", f" [{rng.randint(1, 60)}]", f" ({rng.choice(words.surnames)} et al., {rng.randint(1990, 2023)})"]
    )
    return rng.choice(
        [
            f"We study how {a} {n} depends on {m}{cited}.",
            f"The {n} of {a} {m} was measured in {number}% of the {k}{cited}.",
            f"In contrast to earlier work{cited}, our {n} does not assume {a} {m}.",
            f"These results suggest that {n} and {m} are {a} rather than {b}.",
            f"Figure {rng.randint(1, 9)} shows the {n} as a function of {a} {m}.",
            f"Let x denote the {a} {n}; then the {m} is bounded by {number}.",
            f"However, {n} remains poorly understood{cited}, particularly where {m} is {a}.",
            f"To this end, we collected {rng.randint(12, 900)} samples of {a} {n} over {rng.randint(2, 30)} months.",
            f"Taken together, {a} {n} accounts for most of the {b} {m} that we observed.",
            f"Our contribution is threefold: {n}, {m}, and {a} {k}.",
        ]
    )
