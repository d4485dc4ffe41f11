"use strict";
// Answers that people give in a page: kept in the browser, where it keeps anything for pages from a disk, and saved as a file.
const answers = {
  keep(name, value) {
    try { localStorage.setItem(name, JSON.stringify(value)); } catch { /* private */ }
  },

  recall(name, use) {
    try {
      const kept = JSON.parse(localStorage.getItem(name));
      if (kept) use(kept);
    } catch { /* what is kept is of another page */ }
  },

  save(text, type, file) {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([text], { type }));
    link.download = file;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  },

  // Show one card at a time, with its mark in the strip; ``shown`` is called with its index each time.
  cards(cards, marks, shown) {
    let at = 0;
    function show(index) {
      cards[at].hidden = true;
      marks[at].removeAttribute("aria-current");
      at = Math.min(Math.max(index, 0), cards.length - 1);
      cards[at].hidden = false;
      marks[at].setAttribute("aria-current", "true");
      marks[at].scrollIntoView({ block: "nearest" });
      shown(at);
    }
    marks.forEach((mark, index) => mark.addEventListener("click", () => show(index)));
    return {
      show,
      get at() { return at; },
      next(isOpen) {
        const open = cards.map((_, index) => index).filter(isOpen);
        if (open.length) show(open.find((index) => index > at) ?? open[0]);
      },
    };
  },

  // Call the function of a key, unless a button or box is to receive it.
  onKeys(keys) {
    document.addEventListener("click", (event) => {
      if (event.detail && event.target.closest("button, .chip")) document.activeElement.blur(); // keys are for the page again
    });
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.target.matches("input:not([type=checkbox], [type=range])")) {
        if (event.key === "Enter" || event.key === "Escape") event.target.blur();
        return;
      }
      if (event.target.matches("button, input[type=checkbox], summary") && (event.key === "Enter" || event.key === " ")) return;
      if (!Object.hasOwn(keys, event.key)) return;
      event.preventDefault();
      keys[event.key]();
    });
  },
};
