// The page of a served model. It asks /model once, /predict when the form is sent, and /monitor every ten seconds.

const REFRESH_SECONDS = 10;
const MAX_DRIFT_ROWS = 12; // of the table
const MIN_DRIFT_ROWS = 100; // of the window; the index of a few rows is large by chance
const MISSING = "missing", OTHER = "another value";
const byId = (id) => document.getElementById(id);

let model; // what /model says
let lastId; // of the prediction that is shown

// --- Small parts -------------------------------------------------------------------------------------------------

function element(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function formatNumber(value) {
  if (typeof value !== "number") return String(value);
  return Math.abs(value) >= 1e6 || (value !== 0 && Math.abs(value) < 1e-3)
    ? value.toExponential(2) : String(Number(value.toPrecision(4)));
}

const formatShare = (share) => `${(100 * share).toFixed(1)} %`;
const formatTime = (seconds) => seconds === undefined ? "–" : `${formatNumber(1000 * seconds)} ms`;

function showList(list, facts) {
  list.replaceChildren(...Object.entries(facts).flatMap(([name, value]) => [
    element("dt", { textContent: name }), element("dd", { textContent: value }),
  ]));
}

async function ask(path, options) {
  const response = await fetch(path, options);
  const answer = await response.json();
  if (!response.ok) throw Object.assign(new Error(answer.error), { field: answer.field });
  return answer;
}

const send = (path, body) => ask(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
});

// --- The form ----------------------------------------------------------------------------------------------------

function numberField(field, id) {
  const input = element("input", { id, type: "text", inputMode: "decimal", autocomplete: "off" });
  const known = field.low !== null;
  const hint = element("small", { textContent: known ? `${formatNumber(field.low)} to ${formatNumber(field.high)}` : "" });
  const check = () => {
    const value = Number(input.value);
    hint.className = known && input.value.trim() && (value < field.low || value > field.high) ? "outside" : "";
  };
  input.addEventListener("input", check);
  return {
    nodes: [input, hint],
    read() {
      const text = input.value.trim();
      if (!text) return null;
      const value = Number(text);
      return Number.isNaN(value) ? text : value; // the service says what is wrong with a text
    },
    write(value) { input.value = value === null ? "" : formatNumber(value); check(); },
    input,
  };
}

function choiceField(field, id, choices) {
  // `choices` maps texts to values. A category may have another value, too, and is then typed in.
  const select = element("select", { id }, ...[...choices.keys()].map((text) => element("option", { textContent: text })));
  const typed = element("input", { type: "text", hidden: true, ariaLabel: `${field.name}: ${OTHER}` });
  const update = () => { typed.hidden = select.value !== OTHER; };
  select.addEventListener("change", update);
  return {
    nodes: [select, typed],
    read: () => select.value === OTHER ? typed.value : choices.get(select.value),
    write(value) {
      const text = [...choices.keys()].find((key) => choices.get(key) === value);
      select.value = text ?? OTHER;
      if (text === undefined) typed.value = value;
      update();
    },
    input: select,
  };
}

function makeField(field, id) {
  if (field.kind === "boolean") return choiceField(field, id, new Map([["true", true], ["false", false]]));
  if (field.kind !== "category") return numberField(field, id);
  const choices = new Map(field.levels.map((level) => [level, level]));
  choices.set(MISSING, null).set(OTHER, undefined);
  return choiceField(field, id, choices);
}

function makeForm() {
  const fields = model.fields.map((field, j) => ({ name: field.name, ...makeField(field, `field-${j}`) }));
  byId("fields").replaceChildren(...fields.map((field, j) => element("div", { className: "field" },
    element("label", { htmlFor: `field-${j}`, textContent: field.name }), ...field.nodes)));
  const reset = () => fields.forEach((field) => field.write(model.example[field.name]));
  reset();
  byId("reset").addEventListener("click", reset);
  byId("row").addEventListener("submit", (event) => {
    event.preventDefault();
    predict(fields);
  });
}

// --- The prediction ----------------------------------------------------------------------------------------------

async function predict(fields) {
  fields.forEach((field) => field.input.removeAttribute("aria-invalid"));
  const row = Object.fromEntries(fields.map((field) => [field.name, field.read()]));
  try {
    const answer = await send(`predict?members=${model.has_members}`, [row]);
    showPrediction(answer.predictions[0]);
  } catch (error) {
    byId("prediction").replaceChildren(element("p", { className: "error", textContent: error.message }));
    byId("label").hidden = true;
    fields.find((field) => field.name === error.field)?.input.setAttribute("aria-invalid", "true");
  }
  refresh();
}

function showPrediction({ id, prediction, probabilities, spread, members }) {
  const shown = [element("p", { className: "answer", textContent: describe(prediction) })];
  if (probabilities) {
    shown.push(bars(probabilities, members));
  } else if (members && !Array.isArray(prediction)) {
    shown.push(...strip(prediction, members.map((values) => values[0])));
  }
  if (members) {
    const deviation = probabilities ? formatShare(spread) : formatNumber(spread);
    const weights = model.member_weights ? " A fainter one counts less." : "";
    const text = `Each dot is one of ${members.length} networks; they differ by ${deviation} (standard deviation).${weights}`;
    shown.push(element("p", { className: "hint", textContent: text }));
  }
  byId("prediction").replaceChildren(...shown);
  lastId = id;
  byId("label").hidden = Array.isArray(prediction);
  byId("label").reset();
  byId("label-answer").textContent = "";
}

const describe = (prediction) => Array.isArray(prediction) ? prediction.map(formatNumber).join(", ") : formatNumber(prediction);

function bars(probabilities, members = []) {
  const sorted = Object.entries(probabilities).sort((a, b) => b[1] - a[1]);
  return element("div", { className: "bars" }, ...sorted.flatMap(([name, share], j) => [
    element("span", { className: "name", textContent: name }),
    bar(share, members.map((member) => member[name]), j === 0),
    element("span", { className: "share", textContent: formatShare(share) }),
  ]));
}

function bar(share, members, isTop) {
  const fill = element("div", { className: "fill" });
  fill.style.width = `${100 * share}%`;
  return element("div", { className: isTop ? "bar top" : "bar" }, fill, ...members.map(dot));
}

function dot(share, m) {
  const node = element("span", { className: "member" });
  node.style.left = `${100 * share}%`;
  const weights = model.member_weights;
  if (weights) node.style.setProperty("--weight", weights[m] / Math.max(...weights));
  return node;
}

function strip(prediction, members) {
  const low = Math.min(prediction, ...members), high = Math.max(prediction, ...members);
  const share = (value) => high > low ? 0.04 + 0.92 * (value - low) / (high - low) : 0.5;
  return [
    element("div", { className: "bar" }, ...members.map((value, m) => dot(share(value), m))),
    element("div", { className: "scale" }, element("span", { textContent: formatNumber(low) }), element("span", { textContent: formatNumber(high) })),
  ];
}

function makeLabelForm() {
  const input = model.classes
    ? element("select", { id: "true-label", required: true }, element("option", { value: "", textContent: "choose" }), ...model.classes.map((name) => element("option", { textContent: name })))
    : element("input", { id: "true-label", type: "text", inputMode: "decimal", required: true });
  byId("true-label-box").replaceChildren(input);
  byId("label").addEventListener("submit", async (event) => {
    event.preventDefault();
    const label = model.classes ? input.value : Number(input.value);
    try {
      const answer = await send("feedback", [{ id: lastId, label }]);
      byId("label-answer").textContent = answer.accepted ? "Thank you, it counts." : `Not counted: ${answer.ignored[0].reason}.`;
    } catch (error) {
      byId("label-answer").textContent = error.message;
    }
    refresh();
  });
}

// --- What the service has seen -----------------------------------------------------------------------------------

async function refresh() {
  const live = await ask("monitor");
  const scores = Object.entries(live.scores).map(([name, value]) => [`live ${name.replaceAll("_", " ")}`, formatNumber(value)]);
  showList(byId("numbers"), {
    "rows": live.rows.toLocaleString("en"),
    "half of the answers within": formatTime(live.latency.p50),
    "99 % within": formatTime(live.latency.p99),
    ...Object.fromEntries(scores),
  });
  if (live.drift) showDrift(live.drift);
}

function showDrift(drift) {
  const isEnough = drift.n_rows >= MIN_DRIFT_ROWS;
  const few = `${drift.n_rows} of the ${MIN_DRIFT_ROWS} rows from which drift can be seen.`;
  byId("verdict").textContent = isEnough ? drift.verdict : few;
  byId("verdict").className = isEnough && drift.columns.some((column) => column.drifted) ? "alarm" : "";
  byId("drift").hidden = !isEnough;
  byId("drift").tBodies[0].replaceChildren(...drift.columns.slice(0, MAX_DRIFT_ROWS).map(driftRow));
}

function driftRow(column) {
  const meter = element("meter", { min: 0, max: 0.5, low: 0.1, high: 0.25, optimum: 0, value: column.psi });
  const cell = (text) => element("td", { className: "number", textContent: text });
  return element("tr", { className: column.drifted ? "drifted" : "" },
    element("td", { textContent: column.name }),
    element("td", { className: "drift" }, meter, column.psi.toFixed(2)),
    cell(formatShare(column.missing)),
    cell(column.unseen === null ? "" : formatShare(column.unseen)));
}

// --- Start -------------------------------------------------------------------------------------------------------

model = await ask("model");
document.title = `Predictions of ${model.name}`;
byId("name").textContent = model.name;
byId("subtitle").textContent = `version ${model.version}`;
showList(byId("card"), model.card);
makeForm();
makeLabelForm();
await refresh();
setInterval(() => { if (!document.hidden) refresh().catch(() => {}); }, 1000 * REFRESH_SECONDS);
