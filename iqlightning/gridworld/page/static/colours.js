// The scales of the value maps, in the colours of the package's own figures.

import { INK, REWARD_SCALE, VALUE_SCALE } from "./definitions.js";

const SHADES = 256;

function parse(hex) {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function table(colours) {
  const stops = colours.map(parse);
  return Array.from({ length: SHADES }, (_, index) => {
    const at = (index / (SHADES - 1)) * (stops.length - 1);
    const low = Math.min(Math.floor(at), stops.length - 2);
    const rgb = stops[low].map((from, channel) => Math.round(from + (stops[low + 1][channel] - from) * (at - low)));
    const light = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2];
    return { fill: `rgb(${rgb.join(" ")})`, ink: light < 128 ? "#ffffff" : INK };
  });
}

const TABLES = { values: table(VALUE_SCALE), signed: table(REWARD_SCALE) };

// A scale over some values; a signed one is symmetric, so that white is zero.
export function scaleOf(values, signed = false) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value === null) continue;
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  if (low > high) return null;
  if (signed) {
    const furthest = Math.max(Math.abs(low), Math.abs(high)) || 1;
    return new Scale(-furthest, furthest, TABLES.signed);
  }
  return new Scale(low, high, TABLES.values);
}

class Scale {
  constructor(low, high, colours) {
    Object.assign(this, { low, high, colours });
  }

  colour(value) {
    const share = this.high > this.low ? (value - this.low) / (this.high - this.low) : 0.5;
    return this.colours[Math.max(0, Math.min(SHADES - 1, Math.round(share * (SHADES - 1))))];
  }

  draw(canvas) {
    const pen = canvas.getContext("2d");
    for (let x = 0; x < canvas.width; x += 1) {
      pen.fillStyle = this.colours[Math.round((x / (canvas.width - 1)) * (SHADES - 1))].fill;
      pen.fillRect(x, 0, 1, canvas.height);
    }
  }
}

// As many digits as it takes to tell so many steps of the scale apart; in a cell without a leading zero, for want of room.
export function short(value, scale, { steps = 50, cell = false } = {}) {
  if (value === null) return "";
  const range = scale.high - scale.low || Math.abs(scale.high) || 1;
  const text = value.toFixed(Math.max(0, Math.min(4, Math.ceil(-Math.log10(range / steps)))));
  if (Number(text) === 0) return "0";
  return plain(cell ? text.replace(/^(-?)0\./, "$1.") : text);
}

// A number as it is written: with a minus sign.
export function plain(number) {
  return number.replace("-", "−");
}
