(() => {
  const find = (id) => document.getElementById(id);
  const { columns, lines, round, file } = JSON.parse(find("lines").textContent);
  const cards = [...document.querySelectorAll("#cards .card")], marks = [...find("strip").children];
  const choices = [...document.querySelectorAll("[data-verdict]")];
  const note = find("note"), reviewer = find("reviewer"), holes = find("holes"), whole = find("whole");
  const storeName = `moebius-review-${round}`;
  const shown = answers.cards(cards, marks, (at) => {
    note.value = lines[at].note || "";
    load(at);
    load(at + 1); // so that it is there when it is wanted
    cut(0);
    draw();
  });
  let unsaved = false;

  function remember() {
    const said = lines.map(({ verdict, note, reviewed_at, reviewer }) => [verdict, note, reviewed_at, reviewer]);
    answers.keep(storeName, { reviewer: reviewer.value, said, unsaved });
  }

  function recall(kept) {
    reviewer.value = kept.reviewer;
    kept.said.forEach(([verdict, note, reviewed_at, reviewer], index) => Object.assign(lines[index], { verdict, note, reviewed_at, reviewer }));
    unsaved = Boolean(kept.unsaved);
  }

  function cut(share) {
    for (const view of cards[shown.at].querySelectorAll(".view")) {
      view.style.setProperty("--cut", `${share}%`);
      view.dataset.cut = share;
      const slider = view.querySelector("input");
      if (slider) slider.value = share;
    }
  }

  function load(index) {
    for (const picture of cards[index]?.querySelectorAll("img:not([src])") || []) picture.src = picture.dataset.src;
  }

  function draw() {
    const count = (name) => lines.filter((line) => line.verdict === name).length;
    const [good, bad, unsure] = ["good", "bad", "unsure"].map(count);
    find("count").textContent = `${good + bad + unsure} of ${lines.length}: ${good} good, ${bad} bad, ${unsure} unsure`;
    for (const choice of choices) choice.classList.toggle("chosen", choice.dataset.verdict === lines[shown.at].verdict);
    marks.forEach((mark, index) => { mark.className = lines[index].verdict || ""; });
  }

  function change(said) {
    Object.assign(lines[shown.at], said, { reviewed_at: new Date().toISOString(), reviewer: reviewer.value.trim() });
    unsaved = true;
    remember();
    draw();
  }

  function judge(verdict) {
    const again = lines[shown.at].verdict === verdict;
    change({ verdict: again ? "" : verdict });
    if (!again && shown.at + 1 < cards.length) shown.show(shown.at + 1);
  }

  function save() {
    const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
    const guarded = (text) => (/^[=+\-@\t\r']/.test(text) ? `'${text}` : text);
    const said = new Set(["verdict", "note", "reviewer", "reviewed_at"]); // the rest is guarded already
    const row = (line) => columns.map((name) => quoted(said.has(name) ? guarded(line[name] || "") : line[name] || "")).join(",");
    const text = `\ufeff${[columns.join(","), ...lines.map(row)].join("\r\n")}\r\n`;
    answers.save(text, "text/csv", file);
    unsaved = false;
    remember();
  }

  function toggle(box) {
    box.checked = !box.checked;
    apply();
  }

  function apply() {
    document.body.classList.toggle("with-holes", holes.checked);
    document.body.classList.toggle("detailed", !whole.checked);
  }

  choices.forEach((choice) => choice.addEventListener("click", () => judge(choice.dataset.verdict)));
  find("save").addEventListener("click", save);
  find("tools").addEventListener("submit", (event) => event.preventDefault());
  holes.addEventListener("change", apply);
  whole.addEventListener("change", apply);
  note.addEventListener("input", () => change({ note: note.value }));
  reviewer.addEventListener("input", remember);
  find("cards").addEventListener("input", (event) => cut(event.target.value));
  addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });

  answers.onKeys({
    g: () => judge("good"), b: () => judge("bad"), u: () => judge("unsure"),
    ArrowLeft: () => shown.show(shown.at - 1), ArrowRight: () => shown.show(shown.at + 1),
    Enter: () => shown.next((index) => !lines[index].verdict),
    " ": () => cut(Number(cards[shown.at].querySelector("input")?.value) > 50 ? 0 : 100),
    h: () => toggle(holes), z: () => toggle(whole), s: save, n: () => note.focus(),
  });

  answers.recall(storeName, recall);
  apply();
  shown.show(0);
})();
