"use strict";
(() => {
  const find = (id) => document.getElementById(id);
  const cards = [...document.querySelectorAll("#cards .card")];
  if (!cards.length) return;
  const search = find("search"), kind = find("kind"), holes = find("holes"), large = find("large");
  const statuses = [...document.querySelectorAll("input[name=status]")];
  const visible = () => cards.filter((card) => !card.hidden);

  function filter() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = new Set(statuses.filter((box) => box.checked).map((box) => box.value));
    const chosen = kind ? kind.value : "";
    for (const card of cards) {
      const { status, name } = card.dataset;
      card.hidden = !(wanted.has(status) && (!chosen || card.dataset.kind === chosen) && words.every((word) => name.includes(word)));
    }
    find("count").textContent = `${visible().length} of ${cards.length}`;
  }

  function cut(card, share) {
    const view = card.querySelector(".view"), slider = view && view.querySelector("input");
    if (!slider) return;
    slider.value = share;
    view.style.setProperty("--cut", `${share}%`);
  }

  function enlarge(card) {
    const copy = card.cloneNode(true);
    copy.removeAttribute("tabindex");
    large.querySelector(".stage").replaceChildren(copy);
    const slider = card.querySelector("input[type=range]");
    if (slider) cut(copy, slider.value);
    large.shown = card;
    if (!large.open) large.showModal();
  }

  function step(by) {
    const shown = visible();
    const current = large.open ? large.shown : document.activeElement.closest("#cards .card");
    const at = shown.indexOf(current);
    const next = shown[at < 0 ? 0 : Math.min(Math.max(at + by, 0), shown.length - 1)];
    if (!next) return;
    if (large.open) enlarge(next);
    else next.focus();
  }

  function toggleHoles() {
    document.body.classList.toggle("with-holes", holes.checked);
  }

  function clear() {
    search.value = "";
    if (kind) kind.value = "";
    for (const box of statuses) box.checked = true;
    filter();
  }

  document.addEventListener("input", (event) => {
    if (event.target.type === "range") cut(event.target.closest(".card"), event.target.value);
    else filter();
  });
  find("tools").addEventListener("submit", (event) => event.preventDefault());
  holes.addEventListener("change", toggleHoles);
  if (kind) kind.addEventListener("change", () => {
    for (const box of statuses) if (kind.value && box.value === "failed") box.checked = true;
    filter();
  });
  find("cards").addEventListener("dblclick", (event) => {
    const card = event.target.closest(".card");
    if (card) enlarge(card);
  });
  find("cards").addEventListener("click", (event) => {
    const name = event.target.closest(".facts");
    if (name && !getSelection().toString()) enlarge(name.closest(".card"));
  });
  find("close").addEventListener("click", () => large.close());
  large.addEventListener("close", () => large.shown && large.shown.focus());
  large.addEventListener("click", (event) => {
    if (event.target === large) large.close();
    if (event.target.dataset.step) step(Number(event.target.dataset.step));
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input[type=search], select");
    const card = large.open ? large.querySelector(".card") : event.target.closest("#cards .card");
    if (event.key === "Escape" && !large.open) {
      clear();
      document.activeElement.blur();
    } else if (typing) {
      if (event.key === "Enter" && visible().length) visible()[0].focus();
    } else if (event.key === "/" && !large.open) {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "ArrowLeft" || event.key === "ArrowRight") {
      event.preventDefault();
      step(event.key === "ArrowLeft" ? -1 : 1);
    } else if (event.key === "Enter" && card && !large.open && event.target === card) {
      enlarge(card);
    } else if (event.key === "h") {
      holes.checked = !holes.checked;
      toggleHoles();
    } else if (card && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      const slider = card.querySelector("input[type=range]");
      if (slider) cut(card, Math.min(100, Math.max(0, Number(slider.value) + (event.key === "ArrowUp" ? 10 : -10))));
    } else if (card && (event.key === "b" || event.key === "a")) {
      cut(card, event.key === "b" ? 100 : 0);
    }
  });
  toggleHoles(); // what a reloaded page remembers
  filter();
})();
