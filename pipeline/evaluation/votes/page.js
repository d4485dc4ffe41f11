(() => {
  const find = (id) => document.getElementById(id);
  const { sealed, name } = JSON.parse(find("pairs").textContent);
  if (!sealed.length) return;
  const cards = [...find("cards").children], marks = [...find("strip").children];
  const choices = [...document.querySelectorAll("[data-choice]")], holes = find("holes");
  const storeName = `moebius-votes-${name}`;
  const shown = answers.cards(cards, marks, draw);
  let votes = sealed.map(() => ""), unsaved = false;

  function draw() {
    find("count").textContent = `${votes.filter(Boolean).length} of ${votes.length} voted`;
    for (const choice of choices) choice.classList.toggle("chosen", choice.dataset.choice === votes[shown.at]);
    marks.forEach((mark, index) => mark.classList.toggle("voted", Boolean(votes[index])));
  }

  function vote(choice) {
    const again = votes[shown.at] === choice;
    votes[shown.at] = again ? "" : choice;
    unsaved = true;
    answers.keep(storeName, { votes, unsaved });
    shown.show(again ? shown.at : shown.at + 1);
  }

  function save() {
    const given = sealed.map((pair, index) => ({ pair, choice: votes[index] })).filter(({ choice }) => choice);
    answers.save(`${JSON.stringify({ page: name, votes: given }, null, 1)}\n`, "application/json", `votes-${name}.json`);
    unsaved = false;
    answers.keep(storeName, { votes, unsaved });
  }

  function apply() {
    document.body.classList.toggle("with-holes", holes.checked);
  }

  choices.forEach((choice) => choice.addEventListener("click", () => vote(choice.dataset.choice)));
  find("save").addEventListener("click", save);
  find("tools").addEventListener("submit", (event) => event.preventDefault());
  holes.addEventListener("change", apply);
  addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });
  answers.onKeys({
    ArrowLeft: () => vote("left"), ArrowRight: () => vote("right"), "=": () => vote("equal"),
    Enter: () => shown.next((index) => !votes[index]), Backspace: () => shown.show(shown.at - 1), s: save,
    h: () => { holes.checked = !holes.checked; apply(); },
  });

  answers.recall(storeName, (kept) => {
    if (kept.votes.length === votes.length) ({ votes, unsaved } = kept);
  });
  apply();
  shown.show(0);
})();
