/**
 * `npm run simulate`: computes the time in which a fleet pulls an image through its agents, and the bytes that the registry and
 * each node send meanwhile. Drives the topology's own functions (server/agent/peers).
 */
import { parseArgs } from 'node:util';
import { type Outcome, simulate } from './event-loop.ts';
import { heading, jsonLine, row } from './report.ts';
import { layersOf, rateOf, type Scenario, scenario } from './scenario.ts';
import { clientSuite, defaultSuite } from './suites.ts';

const USAGE = `Usage: npm run --silent simulate -- [options]

Without options: sizes from 8 to 10,000 nodes, and every kind of fault.

  --suite clients      seven image shapes, pulled and unpacked by 1,000 nodes
  --nodes N            1 to 20000 (1000)
  --image COUNTxMIB    layers, and the size of each (3x512)
  --up RATE            uplink of a node, as 1500mbit or 10gbit (1500mbit)
  --down RATE          downlink of a node (10gbit)
  --registry RATE      what the registry sends to all together (10gbit)
  --latency MS         between nodes, one way (0.15)
  --zones N            (1)
  --pullers N          nodes that pull; the others are members only (all)
  --stagger SECONDS    time within which the pulls start (0.01)
  --killed SHARE       share of the nodes that dies (0)
  --killed-at SECONDS  when (5)
  --missing SHARE      share of the members that each node does not know (0)
  --slow SHARE         share of the nodes whose uplink is five times slower (0)
  --seed N             (1)
  --json               one line of JSON for each scenario, in place of the table
`;

/** A problem with the command line. */
class UsageError extends Error {}

try {
  const wanted = scenariosOf(process.argv.slice(2));
  if (wanted === undefined) process.stdout.write(USAGE);
  else run(wanted.scenarios, wanted.json);
} catch (error) {
  const code = (error as NodeJS.ErrnoException).code;
  if (!(error instanceof UsageError) && code?.startsWith('ERR_PARSE_ARGS') !== true) throw error;
  process.stderr.write(`simulate: ${(error as Error).message}\n\n${USAGE}`);
  process.exitCode = 2;
}

function run(scenarios: readonly Scenario[], json: boolean): void {
  if (!json) console.log(heading());
  const outcomes = scenarios.map((one) => {
    const outcome: Outcome = simulate(one);
    console.log(json ? jsonLine(outcome) : row(outcome));
    return outcome;
  });
  if (outcomes.some(({ unfinished }) => unfinished > 0)) process.exitCode = 1;
}

function scenariosOf(args: string[]): { readonly scenarios: Scenario[]; readonly json: boolean } | undefined {
  const text = { type: 'string' } as const;
  const flag = { type: 'boolean' } as const;
  const { values } = parseArgs({
    args,
    options: {
      suite: text,
      nodes: text,
      image: text,
      up: text,
      down: text,
      registry: text,
      latency: text,
      zones: text,
      pullers: text,
      stagger: text,
      killed: text,
      'killed-at': text,
      missing: text,
      slow: text,
      seed: text,
      json: flag,
      help: flag,
    },
  });
  if (values.help === true) return undefined;
  const json = values.json === true;
  const described = Object.keys(values).some((name) => name !== 'json' && name !== 'suite');
  if (values.suite !== undefined) {
    if (values.suite !== 'clients' || described)
      throw new UsageError('--suite takes "clients", and no description beside it');
    return { scenarios: clientSuite(), json };
  }
  if (!described) return { scenarios: defaultSuite(), json };
  const number = (name: keyof typeof values, fallback: number, [least, most]: readonly [number, number]): number => {
    const value = values[name];
    if (value === undefined) return fallback;
    const parsed = Number(value);
    if (value === '' || !(parsed >= least && parsed <= most))
      throw new UsageError(`--${name} takes ${least} to ${most}, not "${value}"`);
    return parsed;
  };
  const whole = (name: keyof typeof values, fallback: number, range: readonly [number, number]): number => {
    const value = number(name, fallback, range);
    if (!Number.isInteger(value)) throw new UsageError(`--${name} takes a whole number, not "${value}"`);
    return value;
  };
  const read = <T>(name: keyof typeof values, parse: (value: string) => T | undefined, fallback: string): T => {
    const value = String(values[name] ?? fallback);
    const parsed = parse(value);
    if (parsed === undefined) throw new UsageError(`--${name} cannot be "${value}"`);
    return parsed;
  };
  const nodes = whole('nodes', 1000, [1, 20_000]);
  return {
    json,
    scenarios: [
      scenario({
        nodes,
        layers: read('image', layersOf, '3x512'),
        up: read('up', rateOf, '1500mbit'),
        down: read('down', rateOf, '10gbit'),
        registry: read('registry', rateOf, '10gbit'),
        latency: number('latency', 0.15, [0, 10_000]) / 1000,
        zones: whole('zones', 1, [1, 1000]),
        pullers: whole('pullers', nodes, [1, nodes]),
        stagger: number('stagger', 0.01, [0, 10_000]),
        killed: number('killed', 0, [0, 1]),
        killedAt: number('killed-at', 5, [0, 10_000]),
        missing: number('missing', 0, [0, 0.9]),
        slow: number('slow', 0, [0, 1]),
        seed: whole('seed', 1, [0, 0xffffffff]),
      }),
    ],
  };
}
