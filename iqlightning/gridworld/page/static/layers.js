// What the layers show: their numbers, made comparable where units differ, and sentences on what they mean.

import { ACTIONS } from "./definitions.js";
import { plain } from "./colours.js";

const UNSHAPED = "a reward that demonstrations fix only up to shaping, so that it need not rise towards the goal";

// The numbers of a layer as they are shown; null where there is nothing to say, and all of it for the bare grid.
export function valuesOf(maps, layer, scaling) {
  if (layer === "none") return null;
  if (layer === "difference") {
    if (maps.true_units && scaling !== "ranks") return maps.difference;
    const [own, exact] = [ranks(reached(maps, maps.v)), ranks(maps.optimum)];
    return own.map((rank, cell) => (rank === null ? null : rank - exact[cell]));
  }
  const values = reached(maps, maps[layer]);
  return scaling === "ranks" ? ranks(values) : values;
}

// Whether white is 0.
export function isSigned(layer, scaling) {
  return layer === "difference" || (layer === "reward" && scaling !== "ranks");
}

// Of the values that are not null, from 0 (lowest) to 100 (highest); equal values share the mean of their ranks.
export function ranks(values) {
  const order = values.map((_, index) => index).filter((index) => values[index] !== null);
  order.sort((one, other) => values[one] - values[other]);
  const result = values.map(() => null);
  for (let first = 0; first < order.length; ) {
    let last = first;
    while (last + 1 < order.length && values[order[last + 1]] === values[order[first]]) last += 1;
    const rank = order.length > 1 ? (50 * (first + last)) / (order.length - 1) : 50;
    for (; first <= last; first += 1) result[order[first]] = rank;
  }
  return result;
}

// Spearman's correlation of V and V* over the cells that lead to the goal; null where it is not defined.
export function agreement(maps) {
  const pairs = [ranks(reached(maps, maps.v)), ranks(maps.optimum)].map((each) => each.filter((rank) => rank !== null));
  const [own, exact] = pairs.map((each) => each.map((rank) => rank - 50));
  const sum = (one, other) => one.reduce((total, rank, index) => total + rank * other[index], 0);
  const size = Math.sqrt(sum(own, own) * sum(exact, exact));
  return size > 0 ? sum(own, exact) / size : null;
}

// What the colours of a board stand for, in sentences; the first of them is apart, as why, where V falls towards the goal.
export function noteOf(maps, layer, scaling, boards) {
  if (layer === "none") return { why: "", notes: [] };
  const under = scaling === "ranks" ? "under" : "in units of";
  const units = `${under} ${maps.true_units ? `the true reward, γ ${maps.gamma}` : UNSHAPED}`;
  const correlation = agreement(maps)?.toFixed(2);
  const order = correlation ? ` Its order of the cells correlates with that of V* at ${plain(correlation)} (Spearman).` : "";
  const notes = {
    v: `V ${units}.${order}`,
    q: `Q ${units}.`,
    reward: `Recovered reward of the greedy move${maps.true_units ? "" : ", fixed only up to shaping"}.`,
    optimum: `Exact: true reward, γ ${maps.gamma}, temperature ${maps.temperature}.`,
    difference:
      maps.true_units && scaling !== "ranks"
        ? "V minus V*, both in units of the true reward; white is 0."
        : "Rank of V minus rank of V* among the cells, in percent: the units of V and V* differ, their order can be compared. White is the same rank.",
  };
  const sentences = [notes[layer]];
  if (scaling === "ranks" && layer !== "difference") sentences.push("Colours are ranks: 0 the lowest, 100 the highest.");
  if (boards > 1) sentences.push(scaling === "shared" ? "Both boards share one scale." : "This board has a scale of its own.");
  const inverted = (layer === "v" || layer === "q") && !maps.true_units && correlation < 0;
  return { why: inverted ? sentences.shift() : "", notes: sentences };
}

// A cell in words: where it is, what it is, and what the layer says of it.
export function reading({ grid, player, maps, values, layer, scaling }, cell) {
  const { width, walls, goal } = grid;
  const here = `Row ${Math.floor(cell / width) + 1}, column ${(cell % width) + 1}`;
  const what = walls[cell] === "1" ? "wall" : cell === goal ? "goal" : cell === player ? "player" : "free";
  if (!maps || what === "wall" || what === "goal") return `${here}: ${what}.`;
  if (maps.optimum[cell] === null) return `${here}: ${what}, does not lead to the goal.`;
  const names = { v: "V", reward: "reward", optimum: "V*", difference: "V − V*" };
  const unit = scaling === "ranks" || (layer === "difference" && !maps.true_units) ? " (rank)" : "";
  const number = (value) => plain(String(unit ? Math.round(value) : Number(value.toPrecision(4))));
  const said = !values
    ? ""
    : layer === "q"
      ? `, Q${unit} ${ACTIONS.map((name, action) => `${name} ${number(values[4 * cell + action])}`).join(", ")}`
      : `, ${names[layer]}${unit} ${number(values[cell])}`;
  const move = ACTIONS[maps.greedy[cell]];
  return `${here}: ${what}${said}${move ? `, greedy move ${move}` : ""}.`;
}

// Without the cells from which no way leads to the goal, which are grey.
function reached(maps, values) {
  const each = values.length / maps.optimum.length;
  return values.map((value, index) => (maps.optimum[Math.floor(index / each)] === null ? null : value));
}
