// Q-networks in plain JavaScript, for a page without a server: the same sums as the package's own encoders and heads.
// A network is {encoder, settings, tensors}; tensors are flat, by the names that they have in PyTorch.

import { STEPS } from "./definitions.js";

const FAR = 1e4; // the cost of what cannot be reached, to LogPlanner

const ENCODERS = { GridCNN: gridCNN, LogPlanner: logPlanner, MLP: mlp };

// Q of the four moves with the player in each cell of a grid, walls and goal included.
export function actionValues(network, grid) {
  const features = ENCODERS[network.encoder](network, grid);
  return Array.from(grid.walls, (_, cell) => head(network.tensors, features(cell))).flat();
}

// PlainHead: of features of each action one number each, of features of the state four.
function head(tensors, features) {
  const q = (input) => {
    for (let layer = 0; ; layer += 2) {
      input = linear(tensors, `head.q.${layer}`, input);
      if (!(`head.q.${layer + 2}.weight` in tensors)) return [...input];
      input = input.map(relu);
    }
  };
  return Array.isArray(features) ? features.flatMap(q) : q(features);
}

// h <- relu(z + A max of the neighbours' h + B h), read out at the player and beside it.
function gridCNN({ tensors, settings }, grid) {
  const { height, width, walls } = grid;
  const [weight, channels] = [tensors["encoder.weight"], tensors["encoder.stem.bias"].length];
  const nothing = new Float64Array(channels);
  const x = planes(grid);
  const z = x.map((each, cell) => (walls[cell] === "1" ? null : linear(tensors, "encoder.stem", each)));
  const around = x.map((_, cell) => neighbours(grid, cell).filter((each) => each >= 0));
  let h = z.map((each) => each?.map(relu) ?? nothing);
  for (let step = settings.iterations ?? height + width; step > 0; step -= 1) {
    h = z.map((own, cell) => {
      if (!own) return nothing;
      const highest = nothing.map((_, channel) => Math.max(0, ...around[cell].map((each) => h[each][channel])));
      return own.map((sum, channel) => {
        const row = 2 * channels * channel;
        for (let index = 0; index < channels; index += 1) {
          sum += weight[row + index] * highest[index] + weight[row + channels + index] * h[cell][index];
        }
        return relu(sum);
      });
    });
  }
  const outside = new Float64Array(channels + 3);
  const cells = h.map((each, cell) => [...each, ...x[cell]]);
  return (cell) =>
    neighbours(grid, cell).map((each) => linear(tensors, "encoder.readout", [...cells[cell], ...(cells[each] ?? outside)]).map(relu));
}

// D <- min(D, c + min of the neighbours' D), 0 at the goal; read out as exp(-D), tanh of what a move changes, and x.
function logPlanner({ tensors, settings }, grid) {
  const { walls, goal } = grid;
  const x = planes(grid);
  const channels = tensors["encoder.price.bias"].length;
  const far = new Float64Array(channels).fill(FAR);
  const price = x.map((each, cell) => (walls[cell] === "1" ? far : linear(tensors, "encoder.price", each).map(softplus)));
  const around = x.map((_, cell) => neighbours(grid, cell).filter((each) => each >= 0));
  let costs = x.map((_, cell) => (cell === goal ? new Float64Array(channels) : far));
  for (let step = settings.iterations ?? walls.length, changed = true; step > 0 && changed; step -= 1) {
    changed = false;
    costs = costs.map((own, cell) =>
      own.map((cost, channel) => {
        const nearest = Math.min(FAR, ...around[cell].map((each) => costs[each][channel]));
        const better = Math.min(cost, price[cell][channel] + nearest);
        changed ||= better < cost;
        return better;
      }),
    );
  }
  return (cell) => {
    const value = costs[cell].map((cost) => Math.exp(-cost));
    return neighbours(grid, cell).map((each) => {
      const nearer = costs[cell].map((cost, channel) => Math.tanh((costs[each] ?? far)[channel] - cost));
      return linear(tensors, "encoder.readout", [...value, ...nearer, ...(x[each] ?? [0, 0, 0])]).map(relu);
    });
  };
}

function mlp({ tensors }, grid) {
  const [walls, goal] = [0, 1].map((plane) => planes(grid).map((each) => each[plane]));
  if (tensors["encoder.layers.1.weight"].length !== 3 * walls.length * tensors["encoder.layers.1.bias"].length) {
    throw new Error("this network plays grids of the size that it was trained on only");
  }
  return (cell) => {
    let input = Float64Array.from([...walls, ...walls.map((_, each) => Number(each === cell)), ...goal]);
    for (let layer = 1; `encoder.layers.${layer}.weight` in tensors; layer += 2) {
      input = linear(tensors, `encoder.layers.${layer}`, input).map(relu);
    }
    return input;
  };
}

// Walls, goal and inside, cell by cell.
function planes({ walls, goal }) {
  return Array.from(walls, (wall, cell) => [Number(wall), Number(cell === goal), 1]);
}

// The cells above, right, below and left, walls included; -1 outside.
function neighbours({ height, width }, cell) {
  const [x, y] = [cell % width, Math.floor(cell / width)];
  return STEPS.map(([right, down]) => {
    const inside = x + right >= 0 && x + right < width && y + down >= 0 && y + down < height;
    return inside ? cell + down * width + right : -1;
  });
}

function linear(tensors, name, input) {
  const [weight, bias] = [tensors[`${name}.weight`], tensors[`${name}.bias`]];
  return Float64Array.from(bias, (sum, row) => {
    for (let index = 0; index < input.length; index += 1) sum += weight[row * input.length + index] * input[index];
    return sum;
  });
}

function relu(value) {
  return value > 0 ? value : 0;
}

function softplus(value) {
  return value > 20 ? value : Math.log1p(Math.exp(value));
}
