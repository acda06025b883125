/** Bytes a second of all agents, from peers and from registries, since the page was opened. */
import Graph from 'uplot';
import { element } from './page-elements.ts';
import { bytesText } from './page-format.ts';

/** Points that are kept: half an hour at two seconds each. */
const MAX_POINTS = 900;
const HEIGHT = 220;

/** A graph that grows with each {@link add}. */
export class TrafficGraph {
  readonly element = element('div', {
    class: 'graph',
    role: 'img',
    'aria-label': 'Bytes a second from peers and from registries',
  });
  readonly #times: number[] = [];
  readonly #peers: number[] = [];
  readonly #origin: number[] = [];
  #last: { readonly peers: number; readonly origin: number; readonly at: number } | undefined;
  #graph: Graph | undefined;

  /** Adds the counters of this moment. */
  add(peers: number, origin: number): void {
    const at = Date.now() / 1000;
    const last = this.#last;
    this.#last = { peers, origin, at };
    if (last === undefined || at - last.at < 0.1) return;
    const rate = (now: number, before: number): number => Math.max(0, now - before) / (at - last.at);
    this.#times.push(at);
    this.#peers.push(rate(peers, last.peers));
    this.#origin.push(rate(origin, last.origin));
    for (const series of [this.#times, this.#peers, this.#origin]) if (series.length > MAX_POINTS) series.shift();
    this.#draw();
  }

  /** Fits the graph to the page. */
  resize(): void {
    const width = this.element.clientWidth - 20;
    if (width > 0 && this.#graph?.width !== width) this.#graph?.setSize({ width, height: HEIGHT });
  }

  #draw(): void {
    const data: Graph.AlignedData = [this.#times, this.#peers, this.#origin];
    if (this.#graph !== undefined) {
      this.#graph.setData(data);
      return;
    }
    const axis = { stroke: () => getComputedStyle(this.element).color, grid: { stroke: 'rgba(128,128,128,0.25)' } };
    this.#graph = new Graph(
      {
        width: Math.max(300, this.element.clientWidth - 20),
        height: HEIGHT,
        series: [
          {},
          { label: 'from peers', stroke: '#2e9d57', width: 2, value: (_, value) => rateText(value) },
          { label: 'from registries', stroke: '#d9730d', width: 2, value: (_, value) => rateText(value) },
        ],
        axes: [axis, { ...axis, size: 84, values: (_, ticks) => ticks.map(rateText) }],
      },
      data,
      this.element,
    );
  }
}

function rateText(value: number | null): string {
  return value === null ? '' : `${bytesText(value)}/s`;
}
