// The page of a rater: stories in their own order, videos in step, three questions, votes stored as they are given.
import * as step from "/web/in_step.js";

const NO_DIFFERENCE = -1;
const MAX_VIDEOS = 9;
const find = (id) => document.getElementById(id);
const letter = (slot) => String.fromCharCode(65 + slot);

const rater = location.pathname.match(/^\/r\/([\w-]+)$/)?.[1];
let study = null;
let at = 0;
let active = 0;
let videos = [];

async function ask(path, options = {}) {
  const answer = await fetch(path, options).catch(() => null);
  if (answer === null) throw new Error("The study cannot be reached. Check the connection and try again.");
  const data = await answer.json();
  if (!answer.ok) throw new Error(typeof data.detail === "string" ? data.detail : "The server did not understand that.");
  return data;
}

// Runs one step of the page; an error is shown and hides nothing that is there.
async function attempt(step) {
  try {
    find("problem").hidden = true;
    await step();
  } catch (error) {
    find("problem").textContent = error.message;
    find("problem").hidden = false;
  }
}

function show(id) {
  for (const main of document.querySelectorAll("main")) main.hidden = main.id !== id;
}

function element(name, text = "", parent = null) {
  const made = document.createElement(name);
  made.textContent = text;
  parent?.append(made);
  return made;
}

const answered = (story) => study.questions.every((question) => question.key in story.answers);

function open(position) {
  at = position;
  active = 0;
  const story = study.stories[at];
  show("rate");
  find("place").textContent = `Story ${at + 1} of ${study.stories.length}`;
  find("progress").max = study.stories.length;
  find("global").textContent = story.global;
  find("captions").replaceChildren(...story.captions.map((text) => element("li", text)));
  find("back").disabled = at === 0;
  showVideos();
  showQuestions();
}

function showVideos() {
  videos = [];
  find("videos").replaceChildren();
  for (let slot = 0; slot < study.videos; slot += 1) {
    const figure = element("figure", "", find("videos"));
    const video = element("video", "", figure);
    video.src = `/api/raters/${rater}/stories/${at}/videos/${slot}`;
    Object.assign(video, { muted: true, playsInline: true, preload: "auto" });
    video.addEventListener("error", () => attempt(() => { throw new Error(`Video ${letter(slot)} cannot be played.`); }));
    element("figcaption", letter(slot), figure);
    videos.push(video);
  }
  videos[0].addEventListener("timeupdate", keepInStep);
  for (const video of videos) video.addEventListener("ended", showPlaying);
  const ready = videos.map((video) => new Promise((done) => video.addEventListener("canplay", done, { once: true })));
  const opened = videos;
  Promise.all(ready).then(() => { if (opened === videos) withVideos(step.play); });
}

function keepInStep() {
  step.follow(videos);
  const starts = study.stories[at].starts;
  const shot = starts.filter((start) => start <= videos[0].currentTime + 0.001).length - 1;
  const captions = find("captions");
  [...captions.children].forEach((item, index) => {
    if (index === shot && !item.classList.contains("now")) captions.scrollTop = item.offsetTop;
    item.classList.toggle("now", index === shot);
  });
  showPlaying();
}

function showPlaying() {
  find("play").textContent = step.playing(videos) ? "Pause" : "Play";
}

// Does something to all videos and says on the button what it does next.
function withVideos(act) {
  act(videos);
  showPlaying();
}

const toggle = () => withVideos(step.playing(videos) ? step.pause : step.play);

function showQuestions() {
  find("questions").replaceChildren();
  study.questions.forEach((question, number) => {
    const set = element("fieldset", "", find("questions"));
    element("legend", question.title, set);
    element("p", question.text, set);
    const choices = element("div", "", set);
    choices.className = "choices";
    for (const choice of [...Array(study.videos).keys(), NO_DIFFERENCE]) {
      const label = element("label", "", choices);
      const input = element("input", "", label);
      Object.assign(input, { type: "radio", name: question.key, value: String(choice) });
      input.addEventListener("change", () => choose(number, choice));
      element("span", choice === NO_DIFFERENCE ? "No difference" : letter(choice), label);
    }
  });
  showAnswers();
}

function mark() {
  [...find("questions").children].forEach((set, number) => set.classList.toggle("active", number === active));
  find("next").disabled = !answered(study.stories[at]);
  find("next").textContent = at + 1 < study.stories.length ? "Next story" : "Finish";
}

// An answer counts at once, so that quick keys reach the next question; if it cannot be stored, it is taken back.
function choose(number, choice) {
  const question = study.questions[number];
  const story = study.stories[at];
  const [position, before] = [at, story.answers[question.key]];
  story.answers[question.key] = choice;
  active = Math.min(number + 1, study.questions.length - 1);
  showAnswers();
  return attempt(async () => {
    try {
      await ask(`/api/raters/${rater}/stories/${position}/votes/${question.key}`, {
        method: "PUT",
        keepalive: true,  // a vote is stored although the page is left at once
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify({ choice }),
      });
    } catch (error) {
      if (before === undefined) delete story.answers[question.key];
      else story.answers[question.key] = before;
      if (at !== position || find("rate").hidden) open(position);
      active = number;
      showAnswers();
      throw error;
    }
  });
}

function showAnswers() {
  const { answers } = study.stories[at];
  for (const input of find("questions").querySelectorAll("input")) input.checked = answers[input.name] === Number(input.value);
  find("progress").value = study.stories.filter(answered).length;
  mark();
}

function next() {
  if (!answered(study.stories[at])) return;
  if (at + 1 < study.stories.length) {
    open(at + 1);
    scrollTo(0, 0);
  } else {
    const missing = study.stories.findIndex((story) => !answered(story));
    if (missing >= 0) open(missing);
    else {
      withVideos(step.pause);
      show("end");
    }
  }
}

function back() {
  if (at > 0) open(at - 1);
}

function onKey(event) {
  if (find("rate").hidden || event.ctrlKey || event.metaKey || event.altKey) return;
  const { key } = event;
  const onButton = event.target instanceof HTMLButtonElement || event.target instanceof HTMLAnchorElement || event.target.tagName === "SUMMARY";
  const digit = /^\d$/.test(key) ? Number(key) : null;
  const steps = { ArrowDown: 1, ArrowUp: -1 };
  if (digit !== null && digit <= Math.min(study.videos, MAX_VIDEOS)) choose(active, digit - 1);
  else if (key in steps) {
    active = Math.min(Math.max(active + steps[key], 0), study.questions.length - 1);
    mark();
  } else if (key === "Enter" && !onButton) next();
  else if (key === "Backspace") back();
  else if (key === " " && !onButton) toggle();
  else if (key === "r" || key === "R") withVideos(step.restart);
  else return;
  event.preventDefault();
}

async function start() {
  if (!rater) {
    show("welcome");
    return;
  }
  study = await ask(`/api/raters/${rater}`);
  find("link").href = location.href;
  const missing = study.stories.findIndex((story) => !answered(story));
  if (missing >= 0) open(missing);
  else show("end");
}

find("begin").addEventListener("click", () => attempt(async () => {
  const made = await ask("/api/raters", { method: "POST" });
  location.assign(`/r/${made.rater}`);
}));
find("play").addEventListener("click", toggle);
find("restart").addEventListener("click", () => withVideos(step.restart));
find("next").addEventListener("click", next);
find("back").addEventListener("click", back);
find("again").addEventListener("click", () => open(study.stories.length - 1));
find("questions").addEventListener("submit", (event) => event.preventDefault());
document.addEventListener("keydown", onKey);
attempt(start);
