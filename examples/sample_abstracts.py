"""Abstracts of trials that never were, with what is marked in them, and a paper about one: for the first tutorial.

The drugs are invented, and so is every finding.
"""

from __future__ import annotations

import random
import re
import textwrap
from collections.abc import Iterator

LABELS = {"drug": "Drug", "disease": "Disease", "dose": "Dose"}
SLOT = re.compile(r"\{(\w+)\}")
Span = tuple[int, int]

DRUGS = """abelcitide avorinib balistatin cantrozole cefolamide daxivimab delopristin eravastat fenolimus galuprazole
gorivimab halosartan istracept jolinatide kelvorinib lumacitide mavolizumab nerotriptan oltipraxin pelarimab quistatin
ranobicin selvotide tamirinib upravacept velaglutide wexotaxel xanoprolol yaltermin zolvirapine""".split()
KINDS = """chronic acute severe refractory juvenile recurrent primary advanced idiopathic early paediatric
resistant""".split()
DISEASES = """arthritis|asthma|psoriasis|migraine|hypertension|colitis|osteoporosis|gout|epilepsy|heart failure|kidney disease
bronchitis|dermatitis|hepatitis|multiple sclerosis|endometriosis|anaemia|glaucoma|uveitis|breast cancer|sinusitis|fibrosis
vasculitis|obesity|insomnia|neuropathy|urticaria|rhinitis|myositis|leukaemia""".replace("\n", "|").split("|")
UNITS = ["5 mg", "10 mg", "20 mg", "50 mg", "100 mg", "150 mg", "200 mg", "400 mg", "0.5 mg/kg", "2 mg/kg", "25 µg"]

TITLES = [
    "{drug} in patients with {disease}: a randomised, placebo-controlled trial",
    "Efficacy and safety of {drug} versus {other} in adults with {disease}",
    "Long-term treatment of {disease} with {drug}: results of an open-label extension",
    "{drug} added to standard care for {disease}",
    "Withdrawal of {drug} after remission of {disease}: a non-inferiority trial",
]
BACKGROUNDS = [
    "Few options exist for patients with {disease} who do not respond to {other}.",
    "Whether {drug} improves outcomes in {disease} is not known.",
    "{drug} is an oral inhibitor that was well tolerated in healthy volunteers.",
    "Many people with {disease} stop treatment within a year.",
    "In earlier studies, {drug} reduced symptoms of {disease} more than {other} did.",
]
METHODS = [
    "We randomly assigned {n} adults with {disease} to {drug} {dose} or placebo once daily for {weeks} weeks.",
    "In this double-blind trial at {sites} centres, {n} patients with {disease} received {drug} {dose}, {other} {dose2},"
    " or placebo.",
    "Participants with moderate to severe {disease} were given {drug} at a dose of {dose} every two weeks.",
    "Patients took {dose} of {drug} twice daily; the dose was raised to {dose2} after {weeks} weeks if tolerated.",
    "Eligible patients had {disease} for at least one year and had not been treated with {other}.",
]
RESULTS = [
    "At week {weeks}, {pct}% of the patients given {drug} and {low}% of those given placebo had responded (P<0.001).",
    "The response was greater with {dose} of {drug} than with {dose2} (difference, {low} percentage points).",
    "Relapse of {disease} occurred in {low}% of the {drug} group and in {pct}% of the {other} group.",
    "The most common adverse events with {drug} {dose} were headache and nausea.",
    "Serious adverse events were reported in {low} patients, none of them related to {drug}.",
    "No difference was seen between {drug} and {other} in the time to first relapse.",
]
CONCLUSIONS = [
    "{drug} {dose} was superior to placebo in patients with {disease}.",
    "In adults with {disease}, {drug} was not inferior to {other}.",
    "These findings support further study of {drug} in {disease}.",
    "Treatment with {drug} reduced the burden of {disease} over {weeks} weeks.",
]
NEW = (
    "Treatment of {disease} with {drug}\n\nWe gave {drug} {dose} to {n} adults with {disease} who had not responded to "
    "{other}. At week {weeks}, {pct}% had responded. Headache was the most common adverse event with {dose2} of {drug}.\n"
)


def abstract(index: int) -> tuple[str, list[tuple[str, Span]]]:
    """Return the text of an abstract, and what is marked in it."""
    rng = random.Random(f"abstract {index}")
    values = _values(rng, DRUGS[index % len(DRUGS)])
    values["disease"] = DISEASES[index % len(DISEASES)]
    if index % 3:
        values["disease"] = f"{rng.choice(KINDS)} {values['disease']}"
    parts = [
        [rng.choice(TITLES)],
        rng.sample(BACKGROUNDS, 2),
        rng.sample(METHODS, 2),
        rng.sample(RESULTS, 3),
        [rng.choice(CONCLUSIONS)],
    ]
    title, *body = (" ".join(part) for part in parts)
    return filled(f"{title}\n\n{' '.join(body)}\n", values)


def new_text() -> tuple[str, list[tuple[str, Span]]]:
    """Return a text with a drug and a disease that no abstract has, and what a person would mark in it."""
    values = _values(random.Random("new"), "brotizumab") | {"disease": "chronic pancreatitis", "other": "sorelimus"}
    return filled(NEW, values)


def paper() -> bytes:
    """Return a PDF of one page, with the title and the abstract of a paper."""
    values = _values(random.Random("paper"), "vancolimus") | {"disease": "lupus nephritis", "other": "ritorelide"}
    sentences = (BACKGROUNDS[0], METHODS[0], METHODS[3], RESULTS[0], RESULTS[3], CONCLUSIONS[0])
    title, body = (filled(text, values)[0] for text in (TITLES[0], " ".join(sentences)))
    lines = [(f"{title[0].upper()}{title[1:]}", 14), ("Jana Meyer, Luis Okafor", 10), *((x, 11) for x in wrapped(body))]
    return pdf(lines)


def _values(rng: random.Random, drug: str) -> dict[str, str]:
    low = rng.randint(4, 30)
    dose, dose2 = rng.sample(UNITS, 2)
    return {
        "drug": drug,
        "other": rng.choice([name for name in DRUGS if name != drug]),
        "dose": dose,
        "dose2": dose2,
        "n": str(rng.randint(80, 900)),
        "sites": str(rng.randint(4, 60)),
        "weeks": str(rng.choice([8, 12, 16, 24, 48, 52])),
        "low": str(low),
        "pct": str(low + rng.randint(10, 40)),
    }


def filled(template: str, values: dict[str, str]) -> tuple[str, list[tuple[str, Span]]]:
    """Return the text, and label and place of what was put into slots that have a label; sentences begin large."""
    text, at, found = "", 0, []
    for slot in SLOT.finditer(template):
        text += template[at : slot.start()]
        value = values[slot[1]]
        value = f"{value[0].upper()}{value[1:]}" if not text or text.endswith((". ", "\n\n")) else value
        label = {**LABELS, "other": "Drug", "dose2": "Dose"}.get(slot[1])
        found += [(label, (len(text), len(text) + len(value)))] if label else []
        text += value
        at = slot.end()
    return text + template[at:], found


def standoff(text: str, found: list[tuple[str, Span]]) -> str:
    """Return the annotation as brat writes it."""
    lines = (f"T{i}\t{label} {start} {stop}\t{text[start:stop]}\n" for i, (label, (start, stop)) in enumerate(found, 1))
    return "".join(lines)


def wrapped(text: str) -> Iterator[str]:
    """Yield the lines of a narrow column."""
    yield from textwrap.wrap(text, 84)


def pdf(lines: list[tuple[str, int]]) -> bytes:
    """Return a PDF of one page with these lines of Helvetica, each with its size."""
    content, top = "", 740
    for line, size in lines:
        escaped = re.sub(r"([\\()])", r"\\\1", line)
        content += f"BT /F1 {size} Tf 72 {top} Td ({escaped}) Tj ET\n"
        top -= size + 8
    stream = content.encode("cp1252")
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 612 792]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%sendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica/Encoding/WinAnsiEncoding>>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, value in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%s endobj\n" % (number, value)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size = len(objects) + 1
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF\n" % (size, len(out))
    return out + b"xref\n0 %d\n0000000000 65535 f \n" % size + table + trailer
