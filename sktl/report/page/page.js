"use strict";
// Tables sort by their columns; without this script they are in the order written.
for (const table of document.querySelectorAll("table.sortable")) {
  const headings = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  headings.forEach((heading, column) => {
    if ("fixed" in heading.dataset) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    heading.setAttribute("aria-sort", "none");
    const numeric = heading.classList.contains("number");
    const key = (row) => {
      const cell = row.cells[column];
      return numeric ? Number.parseFloat(cell.dataset.value) : cell.textContent.trim();
    };
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)];
      if (!numeric) return x.localeCompare(y, undefined, { numeric: true });
      if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
      return x - y;
    };
    button.addEventListener("click", () => {
      const down = numeric
        ? heading.getAttribute("aria-sort") !== "descending"
        : heading.getAttribute("aria-sort") === "ascending";
      for (const other of headings) {
        if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
      }
      heading.setAttribute("aria-sort", down ? "descending" : "ascending");
      const sorted = [...body.rows].sort((a, b) => (down ? compare(b, a) : compare(a, b)));
      body.append(...sorted);
      document.getElementById("said").textContent =
        `Sorted by ${button.textContent}, ${down ? "descending" : "ascending"}.`;
    });
  });
}
