/** Everything that one run measures, in the order of the page. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { findTool } from '../tests/support/tools.ts';
import { measureAgentCost } from './agent-cost.ts';
import { measureConversion } from './convert.ts';
import { measureGrowth } from './growth.ts';
import { makeImage } from './make-image.ts';
import type { BenchOptions, BenchSection, Outcome } from './options.ts';
import { measureReadCost } from './read-cost.ts';
import { measureReference } from './reference.ts';
import { GROWING_LAYER, type GrowthPoint, IMAGES, type Making, MORE_LAYERS } from './scenarios.ts';
import { measureStartUp } from './start-up.ts';

/** Images of many-images.ts at full size. */
const MANY_IMAGES = 100;
/** Megabytes of a layer of shared-base.ts at full size. */
const SHARED_BASE_SIZE = 100;

/** The sections by name. */
export const SECTIONS: readonly BenchSection[] = [
  ...IMAGES.map((scenario) => ({
    name: scenario.name,
    about: scenario.about,
    prepare: async (making: Making) => {
      await scenario.layout(making);
      await scenario.gzipTwin?.(making);
    },
    run: (options: BenchOptions) => measureConversion(scenario, options),
  })),
  {
    name: 'growing-layer',
    about: 'one layer of 0.25, 1 and 4 GB: time per GB and memory',
    prepare: (making) => preparePoints(GROWING_LAYER, making),
    run: (options) => measureGrowth('growing-layer', 'A layer that grows', GROWING_LAYER, options),
  },
  {
    name: 'more-layers',
    about: 'half a GB in 1, 10 and 100 layers: time per GB and memory',
    prepare: (making) => preparePoints(MORE_LAYERS, making),
    run: (options) => measureGrowth('more-layers', 'More layers', MORE_LAYERS, options),
  },
  { name: 'start-up', about: 'accel --version, and the demo image', run: measureStartUp },
  {
    name: 'reference',
    about: 'overlaybd’s own tools and whole converters on the one layer, where they are installed',
    run: measureReference,
  },
  {
    name: 'read-cost',
    about: 'processor time of reads by accel’s reader, for each way to store blocks',
    run: measureReadCost,
  },
  {
    name: 'lazy',
    about: 'what a cold start fetches (lazy.ts)',
    async run(options) {
      const debian = IMAGES.find(({ name }) => name === 'debian')!;
      if ((await debian.layout(options)) === undefined) return { skipped: `not on this machine: ${debian.about}` };
      return runScript('lazy.js', ['docker-registry'], options, []);
    },
  },
  {
    name: 'prefetch',
    about: 'a first start over a slow link, with and without a prefetch list (prefetch.ts)',
    async run(options) {
      const debian = IMAGES.find(({ name }) => name === 'debian')!;
      if ((await debian.layout(options)) === undefined) return { skipped: `not on this machine: ${debian.about}` };
      return runScript('prefetch.js', ['docker-registry'], options, ['--rounds', String(options.rounds)]);
    },
  },
  {
    name: 'agent-cost',
    about: 'MB a CPU second and memory of agents that pull an image together (agent-cost.ts)',
    run: measureAgentCost,
  },
  {
    name: 'agent',
    about: 'limits, prefetches and lazily loaded images of agents (agent.ts)',
    run: (options) => runScript('agent.js', [], options, []),
  },
  {
    name: 'admission',
    about: 'how long the webhook makes pods wait (admission-latency.ts)',
    run: (options) => runScript('admission-latency.js', ['etcd', 'docker-registry', 'skopeo'], options, []),
  },
  {
    name: 'controller',
    about: 'copies of pull secrets in 5,000 namespaces (controller-memory.ts)',
    run: (options) => runScript('controller-memory.js', ['etcd'], options, []),
  },
  {
    name: 'service',
    about: 'events a second, conversions an hour and memory of the conversion service (service.ts)',
    run: (options) => runScript('service.js', ['docker-registry', 'initdb', 'postgres', 'psql'], options, []),
  },
  {
    name: 'service-queue',
    about: 'a queue of a million jobs (service-queue.ts)',
    run: (options) => runScript('service-queue.js', ['initdb', 'postgres', 'psql'], options, []),
  },
  {
    name: 'shared-base',
    about: 'a second image on the same base (shared-base.ts)',
    run: (options) =>
      runScript('shared-base.js', ['docker-registry', 'skopeo'], options, [
        ...['--rounds', String(options.rounds)],
        ...['--size', String(Math.max(1, SHARED_BASE_SIZE * options.scale))],
      ]),
  },
  {
    name: 'many-images',
    about: 'many small images by one run and by a loop of runs (many-images.ts)',
    run: (options) =>
      runScript('many-images.js', ['docker-registry'], options, [
        ...['--images', String(Math.max(4, Math.round(MANY_IMAGES * options.scale)))],
      ]),
  },
];

const ON_SERVER_NODE: readonly string[] = [
  'agent.js',
  'admission-latency.js',
  'controller-memory.js',
  'service.js',
  'service-queue.js',
];

async function preparePoints(points: readonly GrowthPoint[], { directory, scale }: Making): Promise<void> {
  for (const { recipe } of points) await makeImage(directory, recipe(scale));
}

/** Runs a benchmark that is a script of its own and prints and writes its own section. */
async function runScript(
  script: string,
  tools: readonly string[],
  options: BenchOptions,
  args: readonly string[],
): Promise<Outcome> {
  const missing = tools.filter((tool) => findTool(tool) === undefined);
  if (missing.length > 0) return { skipped: `not installed: ${missing.join(', ')}` };
  const path = join(import.meta.dirname, script);
  // Roles of the server run on its Node.
  const runner = ON_SERVER_NODE.includes(script) ? [join(import.meta.dirname, '../scripts/run-on-server-node.js')] : [];
  const child = spawn(process.execPath, [...runner, path, ...args, ...(options.write ? ['--write'] : [])], {
    stdio: 'inherit',
  });
  const [code] = (await once(child, 'close')) as [number | null];
  if (code !== 0) throw new Error(`${script}: exit ${code}`);
  return { done: true };
}
