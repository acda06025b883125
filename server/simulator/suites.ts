/** The scenarios that are run when none is described. */
import { type ClientModel, layersOf, rateOf, type Scenario, scenario } from './scenario.ts';

/** Sizes, and every kind of fault, at 1,000 nodes. */
export function defaultSuite(): Scenario[] {
  const thousand = { nodes: 1000, layers: layersOf('3x256')! };
  return [
    scenario({
      label: 'lab: registry 50 Mbit/s',
      nodes: 8,
      layers: layersOf('4x16')!,
      up: rateOf('10gbit')!,
      registry: rateOf('50mbit')!,
    }),
    scenario({ label: 'small', nodes: 8 }),
    scenario({ label: 'hundred', nodes: 100 }),
    scenario({ ...thousand, label: 'thousand' }),
    scenario({ ...thousand, label: 'a tenth pulls', pullers: 100 }),
    scenario({ ...thousand, label: 'starts within 5 s', stagger: 5 }),
    scenario({ ...thousand, label: '3 zones', zones: 3 }),
    scenario({ ...thousand, label: '5 % die', killed: 0.05, killedAt: 2.5 }),
    scenario({ ...thousand, label: '20 % die', killed: 0.2, killedAt: 2.5 }),
    scenario({ ...thousand, label: 'views miss 2 %', missing: 0.02 }),
    scenario({ ...thousand, label: 'views miss 10 %', missing: 0.1 }),
    scenario({ ...thousand, label: 'a tenth is 5 times slower', slow: 0.1 }),
    scenario({ label: 'ten thousand', nodes: 10_000, layers: layersOf('3x64')! }),
  ];
}

/**
 * A node with 4 processors and a cloud disk, whose runtime writes, unpacks and writes again. The three rates are chosen so
 * that published pull times for these image shapes come out; they are not measured.
 */
const CLIENT: ClientModel = { disk: 220e6, gunzip: 60e6, ratio: 2.5, dirty: 800e6 };
const SHAPES = ['8x512', '1x10240', '5x4096', '2x10240', '40x512', '1x20480', '10x2048'];
const LARGE_PIECE = 8 * 1024 * 1024;

/**
 * Seven image shapes pulled by 1,000 nodes, download and unpacking together. Pieces are four times as large as the agent's, which makes
 * them slower to pass on, and the run four times shorter.
 */
export function clientSuite(): Scenario[] {
  return SHAPES.map((shape) =>
    scenario({
      label: `${shape} MiB, unpacked`,
      nodes: 1000,
      layers: layersOf(shape)!,
      up: rateOf('10gbit')!,
      processor: 740e6,
      hashing: 450e6,
      client: CLIENT,
      pieceBytes: LARGE_PIECE,
    }),
  );
}
