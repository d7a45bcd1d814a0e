"use strict";
// Shows the arms that are ticked, in all figures.
function choose() {
  for (const box of document.querySelectorAll(".arms input"))
    for (const line of document.querySelectorAll("svg ." + box.value)) line.style.display = box.checked ? "" : "none";
}
addEventListener("change", choose);
// What is folded is drawn when it is opened, so that the page is there at once.
function unfold(part) {
  for (const text of part.querySelectorAll("figure > script")) text.parentNode.innerHTML = text.textContent;
  choose();
}
addEventListener("toggle", (event) => event.target.open && unfold(event.target), true);
// A printed page is read whole.
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details")) {
    part.open = true;
    unfold(part);
  }
});
// Served while runs go on, the page puts a newer one in its place, and leaves open and ticked what was.
if (document.body.dataset.live) {
  let known = null;
  const look = async () => {
    try {
      const answer = await fetch(location.pathname, { cache: "no-cache" });
      const tag = answer.headers.get("ETag");
      if (answer.ok && known !== null && tag !== known) {
        const body = new DOMParser().parseFromString(await answer.text(), "text/html").body;
        const open = [...document.querySelectorAll("details[open]")].map((part) => part.id);
        const hidden = [...document.querySelectorAll(".arms input:not(:checked)")].map((box) => box.name);
        document.querySelector("main").replaceWith(body.querySelector("main"));
        for (const part of document.querySelectorAll("details")) part.open = open.includes(part.id);
        for (const box of document.querySelectorAll(".arms input")) box.checked = !hidden.includes(box.name);
        choose();
      }
      if (answer.ok) known = tag;
    } catch {} // it is served no more
    setTimeout(look, 5000);
  };
  look();
}
