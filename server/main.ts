/**
 * The composition root of accel-image-server: reads the configuration, starts metrics and the role that is asked for, and runs
 * until a signal ends it. The roles do not know each other.
 */
import { AccelError } from '../base/error.ts';
import { VERSION } from '../base/version.ts';
import type { NodeReport } from './agent/node/setup.ts';
import { loadConfig } from './config/load.ts';
import { hostAndPort, milliseconds } from './config/schema.ts';
import { Lifecycle, type SignalSource } from './lifecycle.ts';
import type { RoleStarter } from './role.ts';
import { serveTelemetry } from './telemetry/exposition.ts';
import { createMetrics } from './telemetry/metrics.ts';

/** The version of the package; the command line refuses one that is not its own. */
export const version = VERSION;

/** A role to start. */
export interface RunRequest {
  readonly role: string;
  /** Path of the configuration file. */
  readonly config: string;
  /** Only checks the configuration. */
  readonly check: boolean;
}

/** Surroundings of a run. */
export interface Surroundings {
  readonly stderr: { write(text: string): unknown };
  readonly signals: SignalSource;
  /** The roles; those of this package unless given. */
  readonly roles?: Readonly<Record<string, RoleStarter>>;
}

/** The roles of this version. */
const ROLES: Readonly<Record<string, RoleStarter>> = {
  agent: async (context) => (await import('./agent/agent-role.ts')).startAgentRole(context),
};

/** Certificates to make. */
export interface CertificatesRequest {
  readonly folder: string;
  /** Each `IP:PORT`. */
  readonly nodes: readonly string[];
  /** Days for which the nodes' certificates hold. */
  readonly days: number;
}

/** Makes certificates for agents: the paths of the files that were written. Fails with `usage` for a node that is no IP:PORT. */
export async function writeCertificates(request: CertificatesRequest): Promise<readonly string[]> {
  return (await import('./agent/certificate-files.ts')).writeCertificateFiles(request);
}

/** A node to set up or to clean up. */
export interface NodeCommand {
  readonly command: 'setup' | 'cleanup';
  /** Root folder of the node. */
  readonly root: string;
  /** Path of the configuration file; cleanup needs none. */
  readonly config?: string;
  /** Restarts the daemons that need it. */
  readonly restart: boolean;
}

/** Lets a node's runtimes pull through its agent, or puts their files back. Fails with `usage` for a configuration or a root. */
export async function changeNode({ command, root, config, restart }: NodeCommand): Promise<NodeReport> {
  const { setupNode, cleanupNode } = await import('./agent/node/setup.ts');
  if (command === 'cleanup') return cleanupNode({ root, restart });
  if (config === undefined) throw new AccelError('usage', 'setup needs a configuration file');
  return setupNode(await loadConfig(config), { root, restart });
}

/** Runs a role until a signal ends it. Fails with `usage` for a configuration or a role that cannot be run. */
export async function run(request: RunRequest, surroundings: Surroundings): Promise<void> {
  const { stderr, signals, roles = ROLES } = surroundings;
  const log = (line: string): void => void stderr.write(`accel: ${line}\n`);
  const config = await loadConfig(request.config);
  if (request.check) {
    log(`${request.config} is valid`);
    return;
  }
  const start = Object.hasOwn(roles, request.role) ? roles[request.role] : undefined;
  if (start === undefined) {
    throw new AccelError(
      'usage',
      `accel-image-server ${VERSION} has no role ${request.role}; it checks configurations alone`,
      {
        ...(Object.keys(roles).length === 0 ? {} : { expected: Object.keys(roles).join(', ') }),
        found: request.role,
      },
    );
  }
  await using lifecycle = new Lifecycle({ signals, drain: milliseconds(config.drain), log });
  const metrics = createMetrics(request.role);
  lifecycle.setReady(request.role, 'starting');
  const exposition = await serveTelemetry({
    ...hostAndPort(config.telemetry.listen),
    metrics,
    unready: () => lifecycle.unready(),
  });
  lifecycle.started('metrics', () => exposition.close());
  log(`metrics at ${exposition.url}/metrics`);
  try {
    await start({ config, metrics, lifecycle, log });
    lifecycle.setReady(request.role);
  } catch (error) {
    lifecycle.drain();
    await lifecycle.run();
    throw error;
  }
  await lifecycle.run();
}
