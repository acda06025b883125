/** `accel agent setup`: a node's runtimes pull through its agent. */

import { AccelError } from '../../../base/error.ts';
import { namedHosts } from '../../config/p2p-names.ts';
import { type Config, hostAndPort } from '../../config/schema.ts';
import { CREDENTIALS_PATH } from '../device-credentials/credential-endpoint.ts';
import { type NodeChange, readNode, withNode } from './node-changes.ts';
import { problemText } from './problem-text.ts';
import { restartDaemons, restartsFor } from './restarts.ts';
import type { BeforeChange, RootedFiles } from './rooted-files.ts';
import { setupContainerd } from './setup-containerd.ts';
import { type Restart, SetupContext, type SetupReport, type SetupTarget } from './setup-context.ts';
import { setupDocker, setupOverlaybd } from './setup-json.ts';
import { setupRegistriesConf } from './setup-registries-conf.ts';

/** Where to work, and whether to restart. */
export interface NodeRequest {
  /** Root folder of the node. */
  readonly root: string;
  /** Restarts the daemons that need it. */
  readonly restart: boolean;
  /** Called before each change of the file system; tests end the process there. */
  readonly before?: BeforeChange;
}

/** Reports what was done to a node, and what a person has to do or to know. */
export interface NodeReport extends SetupReport {
  /** Daemons that have to be restarted or reloaded. */
  readonly restarts: readonly Restart[];
}

/** Takes from the configuration what runtimes need. */
export function setupTarget({ registries, agent, cluster }: Config): SetupTarget {
  const { host, port } = hostAndPort(agent.listen);
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  const url = `http://${local.includes(':') ? `[${local}]` : local}:${port}`;
  const p2pNameOf = namedHosts(cluster.p2p.hosts);
  const named = registries.map(({ host: name, plain, caFile }) => ({
    ...{ host: hubName(name), plain, caFile },
    p2pName: p2pNameOf(name),
  }));
  const { serve, file } = agent.credentials;
  const credentials = serve
    ? ({ mode: 'http', path: `${url}${CREDENTIALS_PATH}` } as const)
    : file !== undefined
      ? ({ mode: 'file', path: file } as const)
      : undefined;
  return {
    agent: url,
    port,
    blockProxy: `${url}/${agent.blockPrefix}`,
    registries: named,
    ...(credentials === undefined ? {} : { credentials }),
    ...(agent.engine === 'spegel' ? { spegel: `http://${agent.spegel.mirror}` } : {}),
  };
}

/** Sets a node up; again, it changes only what is not as it should be. Fails with `usage` without registries. */
export async function setupNode(config: Config, request: NodeRequest): Promise<NodeReport> {
  const target = setupTarget(config);
  if (target.registries.length === 0) {
    throw new AccelError('usage', 'no registry is configured, so there is nothing to pull through the agent', {
      expected: 'registries: [{host: registry.example.com}]',
    });
  }
  return withNode(request, async (node, files) => {
    const context = await runParts(new SetupContext(files, node, target));
    // A part that failed did not say all that it wants.
    if (context.problems.length === 0) {
      const unwanted = await node.restoreUnwanted();
      context.changes.push(...unwanted.changes);
      context.problems.push(...unwanted.problems);
    }
    const { changes, notes, problems } = context;
    const restarts = await handleRestarts(changes, files, request, notes);
    return { changes, notes: [...new Set(notes)], problems: [...new Set(problems)], restarts };
  });
}

/** Reports what setup would do, and does nothing. */
export async function planNode(config: Config, root: string): Promise<SetupReport> {
  return readNode(root, async (node, files) => {
    const { changes, notes, problems } = await runParts(new SetupContext(files, node, setupTarget(config)));
    return { changes, notes, problems };
  });
}

async function runParts(context: SetupContext): Promise<SetupContext> {
  for (const part of [setupContainerd, setupRegistriesConf, setupDocker, setupOverlaybd]) {
    // A file that cannot be edited leaves the other runtimes to be set up.
    await part(context).catch((error: unknown) => context.problems.push(problemText(error)));
  }
  return context;
}

/**
 * Finds the daemons that changed files belong to, restarts them where that is asked for, which `notes` then say, and returns what
 * is left to do.
 */
export async function handleRestarts(
  changes: readonly NodeChange[],
  files: RootedFiles,
  { restart }: NodeRequest,
  notes: string[],
): Promise<readonly Restart[]> {
  const restarts = await restartsFor(changes, files);
  if (!restart) return restarts;
  const left = await restartDaemons(restarts, files.root);
  for (const { service, action } of restarts)
    if (!left.some((one) => one.service === service)) notes.push(`systemctl ${action} ${service} was run`);
  return left;
}

/** Docker Hub as references have it. */
function hubName(host: string): string {
  const lower = host.toLowerCase();
  return lower === 'registry-1.docker.io' || lower === 'index.docker.io' ? 'docker.io' : lower;
}
