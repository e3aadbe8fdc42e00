// The link: what is watched, in the part of the address that is sent to no server.

const LAYERS = ["none", "v", "q", "reward", "optimum", "difference"];
const SCALES = ["own", "shared", "ranks"];

// The room that an address names.
export function roomOf(hash) {
  return hash.slice(1).split("?")[0];
}

// {grid, layer, scaling, arrows, numbers, boards: [{label, updates}]} as the end of an address.
export function written({ grid, layer, scaling, arrows, numbers, boards }) {
  const { height, width, walls, start, goal } = grid;
  const fields = new URLSearchParams({ size: `${height}x${width}`, walls: packed(walls), start, goal, layer, scale: scaling });
  fields.set("show", [arrows && "arrows", numbers && "numbers"].filter(Boolean).join(" "));
  for (const { label, updates } of boards) fields.append("board", updates === undefined ? label : `${label}@${updates}`);
  return `#watch?${fields}`;
}

// What an address says, whoever wrote it: only what makes sense is in it.
export function read(hash, [least, most]) {
  const fields = new URLSearchParams(hash.split("?").slice(1).join("?"));
  const among = (name, choices) => (choices.includes(fields.get(name)) ? fields.get(name) : undefined);
  const shown = fields.get("show")?.split(" ");
  return {
    grid: gridOf(fields, least, most),
    layer: among("layer", LAYERS),
    scaling: among("scale", SCALES),
    arrows: shown?.includes("arrows"),
    numbers: shown?.includes("numbers"),
    boards: fields.getAll("board").slice(0, 2).map((text) => {
      const [, label, updates] = text.match(/^(.*?)(?:@(\d+))?$/s);
      return { label, updates: updates === undefined ? undefined : Number(updates) };
    }),
  };
}

function gridOf(fields, least, most) {
  const size = /^(\d{1,2})x(\d{1,2})$/.exec(fields.get("size") ?? "");
  if (!size) return null;
  const [height, width] = [Number(size[1]), Number(size[2])];
  if (Math.min(height, width) < least || Math.max(height, width) > most) return null;
  const walls = unpacked(fields.get("walls") ?? "", height * width);
  const [start, goal] = ["start", "goal"].map((name) => Number(fields.get(name) || NaN));
  const free = (cell) => Number.isInteger(cell) && walls?.[cell] === "0";
  return walls && free(start) && free(goal) && start !== goal ? { height, width, walls, start, goal } : null;
}

// Four cells a hexadecimal digit.
function packed(walls) {
  return walls.replace(/[01]{1,4}/g, (four) => parseInt(four.padEnd(4, "0"), 2).toString(16));
}

function unpacked(text, cells) {
  if (text.length !== Math.ceil(cells / 4) || /[^0-9a-f]/.test(text)) return null;
  return text.replace(/./g, (digit) => parseInt(digit, 16).toString(2).padStart(4, "0")).slice(0, cells);
}
