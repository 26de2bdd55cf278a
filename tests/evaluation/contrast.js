// The contrast of each text that is seen with what is behind it, as WCAG defines it, and where it stands.
(() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const linear = (v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  const light = ([r, g, b]) => 0.2126 * linear(r / 255) + 0.7152 * linear(g / 255) + 0.0722 * linear(b / 255);
  const behind = (each) => {
    for (let element = each; element; element = element.parentElement) {
      const found = rgb(getComputedStyle(element).backgroundColor);
      if (found[3] > 250) return light(found);
    }
    return 1;
  };
  const hasText = (each) => [...each.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  const seen = [...document.querySelectorAll("main *, header *")].filter((each) => each.checkVisibility() && !each.closest("svg") && hasText(each));
  return seen.map((each) => {
    const [a, b] = [light(rgb(getComputedStyle(each).color)), behind(each)];
    return [(Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05), `${each.tagName}.${each.className}: ${each.textContent.slice(0, 30)}`];
  });
})()
