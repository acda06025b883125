/**
 * The composition root of accel-image-server: reads the configuration, starts metrics and the role that is asked for, and runs
 * until a signal ends it. The roles do not know each other.
 */
import { AccelError } from '../base/error.ts';
import { VERSION } from '../base/version.ts';
import type { Diagnosis } from './agent/node/doctor.ts';
import type { NodeReport } from './agent/node/setup.ts';
import { agentInCluster } from './agent-in-cluster.ts';
import { loadConfig } from './config/load.ts';
import { type Config, hostAndPort, milliseconds } from './config/schema.ts';
import type { Handover } from './handover/handover.ts';
import { Lifecycle, type SignalSource } from './lifecycle.ts';
import type { RoleStarter } from './role.ts';
import type { ImageCheck } from './service/check-image.ts';
import type { BackfillReport, BackfillRequest } from './service/scans/backfill.ts';
import type { PruneRequest } from './service/scans/prune-command.ts';
import type { PruneRunReport } from './service/scans/prune-tags.ts';
import { serveTelemetry } from './telemetry/exposition.ts';
import { createMetrics } from './telemetry/metrics.ts';

/** The version of the package; the command line refuses one that is not its own. */
export const version = VERSION;

/** A role to start. */
export interface RunRequest {
  readonly role: string;
  /** Path of the configuration file. */
  readonly config: string;
  /** Only checks the configuration, and that an agent could start here. */
  readonly check: boolean;
}

/** Surroundings of a run. */
export interface Surroundings {
  readonly stderr: { write(text: string): unknown };
  readonly signals: SignalSource;
  /** The roles; those of this package unless given. */
  readonly roles?: Readonly<Record<string, RoleStarter>>;
  /** In a worker process: what its holder has handed over. */
  readonly handover?: Handover;
  /** Called when the role serves. */
  readonly onServing?: () => void;
}

/** The roles of this version, each with the module that is loaded for it. */
const MODULES: Readonly<Record<string, () => Promise<RoleStarter>>> = {
  agent: agentRole,
  service: async () => serviceRole('both'),
  api: async () => serviceRole('api'),
  worker: async () => serviceRole('worker'),
  admission: async () => (await import('./cluster/admission-role.ts')).startAdmissionRole,
  controller: async () => (await import('./cluster/controller-role.ts')).startControllerRole,
  uninstall: async () => (await import('./cluster/uninstall-role.ts')).startUninstallRole,
};
const ROLES: Readonly<Record<string, RoleStarter>> = Object.fromEntries(
  Object.entries(MODULES).map(([role, load]) => [role, async (context) => (await load())(context)]),
);

/** The agent, with its way to Kubernetes. */
async function agentRole(): Promise<RoleStarter> {
  const { startAgentRole } = await import('./agent/agent-role.ts');
  return (context) => startAgentRole(context, agentInCluster(context.metrics));
}

/** A part of the conversion service, or both. */
async function serviceRole(role: 'both' | 'api' | 'worker'): Promise<RoleStarter> {
  const { startServiceRole } = await import('./service/service-role.ts');
  return (context) => startServiceRole(role, context);
}

/** Loads the modules of a role, so that it starts sooner later. */
export async function loadRole(role: string): Promise<void> {
  if (Object.hasOwn(MODULES, role)) await MODULES[role]!();
}

/** Checks what else would keep a part of the service from starting: warnings. Other roles do not have the service's files. */
async function checkService(role: string, config: Config): Promise<readonly string[]> {
  const part = role === 'service' ? 'both' : role === 'api' || role === 'worker' ? role : undefined;
  return part === undefined ? [] : (await import('./service/check-service.ts')).checkService(part, config);
}

/** The sockets of a role that outlive its processes, by name; undefined where it opens its own. */
function heldAddresses(role: string, { agent, telemetry }: Config) {
  if (role !== 'agent' || !agent.keepSockets) return undefined;
  const addresses = {
    clients: agent.listen,
    peers: agent.peerListen,
    ...(telemetry.standaloneExporterPort ? { metrics: telemetry.listen } : {}),
  };
  return Object.fromEntries(Object.entries(addresses).map(([name, address]) => [name, hostAndPort(address)]));
}

/** Checks that the agent could start on this machine: warnings. */
async function checkAgent(config: Config): Promise<readonly string[]> {
  return (await import('./agent/check-start.ts')).checkAgentStart(config, agentInCluster());
}

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
  /** Lets cleanup go on where the journal of setup is damaged. */
  readonly force?: boolean;
}

/** Lets a node's runtimes pull through its agent, or puts their files back. Fails with `usage` for a configuration or a root. */
export async function changeNode({ command, root, config, restart, force }: NodeCommand): Promise<NodeReport> {
  if (command === 'cleanup') {
    const { cleanupNode } = await import('./agent/node/cleanup.ts');
    return cleanupNode({ root, restart, force: force === true });
  }
  if (config === undefined) throw new AccelError('usage', 'setup needs a configuration file');
  const { setupNode } = await import('./agent/node/setup.ts');
  return setupNode(await loadConfig(config), { root, restart });
}

/** A node to examine. */
export interface DoctorRequest {
  /** Root folder of the node. */
  readonly root: string;
  /** Path of the configuration file. */
  readonly config: string;
  /** Image that the runtimes pull. */
  readonly canary?: string;
}

/** Examines a node: what is wrong, and how to mend it. Fails with `usage` for a configuration or a root. */
export async function examineNode({ config, root, canary }: DoctorRequest): Promise<Diagnosis> {
  return (await import('./agent/node/doctor.ts')).examineNode(await loadConfig(config), {
    root,
    canary,
    cluster: agentInCluster(),
  });
}

/** An image to find a rule for. */
export interface CheckRequest {
  /** Path of the configuration file. */
  readonly config: string;
  /** `HOST/REPOSITORY:TAG`. */
  readonly image: string;
}

/** Finds the rule that covers an image. Fails with `usage` for a configuration or an image that cannot be. */
export async function checkImage({ config, image }: CheckRequest): Promise<ImageCheck> {
  return (await import('./service/check-image.ts')).checkImage(await loadConfig(config), image);
}

/** A backfill that a command asks for; its configuration is a path. */
export type BackfillCommand = BackfillRequest & { readonly config: string };

/** Finds images that existed before the service, and lets it convert them. Fails with `usage` for a configuration or pattern that cannot be. */
export async function backfill({ config, ...request }: BackfillCommand): Promise<BackfillReport> {
  return (await import('./service/scans/backfill.ts')).backfill(await loadConfig(config), request);
}

/** A run of prune that a command asks for; its configuration is a path. */
export type PruneCommand = PruneRequest & { readonly config: string };

/** Removes accelerated tags that nobody needs. Fails with `usage` for a configuration that cannot be. */
export async function prune({ config, ...request }: PruneCommand): Promise<PruneRunReport> {
  return (await import('./service/scans/prune-command.ts')).pruneByHand(await loadConfig(config), request);
}

/** Runs a role until a signal ends it. Fails with `usage` for a configuration or a role that cannot be run. */
export async function run(request: RunRequest, surroundings: Surroundings): Promise<void> {
  const { stderr, signals, roles = ROLES, handover } = surroundings;
  const log = (line: string): void => void stderr.write(`accel: ${line}\n`);
  const config = await loadConfig(request.config);
  if (request.check) {
    const { loadRules, loadWatches } = await import('./service/load-rules.ts');
    await loadRules(config);
    loadWatches(config);
    const warnings = await (request.role === 'agent' ? checkAgent(config) : checkService(request.role, config));
    for (const warning of warnings) log(`warning: ${warning}`);
    log(`${request.config} is valid`);
    return;
  }
  const addresses = heldAddresses(request.role, config);
  if (addresses !== undefined && roles === ROLES && handover === undefined) {
    const { holdRole } = await import('./handover/hold-role.ts');
    return holdRole({
      ...request,
      addresses,
      readAddresses: async () => heldAddresses(request.role, await loadConfig(request.config)),
      program: new URL(import.meta.url.endsWith('.ts') ? './role-worker.ts' : './role-worker.js', import.meta.url),
      drain: milliseconds(config.drain),
      log,
      signals,
    });
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
  const state = { metrics, unready: () => lifecycle.unready(), degraded: () => lifecycle.degraded() };
  // The service has no port yet on which they could be.
  const isShared = request.role === 'agent' && !config.telemetry.standaloneExporterPort;
  if (!isShared) {
    const fd = handover?.sockets.get('metrics');
    const exposition = await serveTelemetry({ ...hostAndPort(config.telemetry.listen), fd, ...state });
    lifecycle.started('metrics', () => exposition.close());
    log(`metrics at ${exposition.url}/metrics`);
  }
  try {
    const context = { config, readConfig: () => loadConfig(request.config), metrics, lifecycle, log, handover };
    await start({ ...context, ...(isShared ? { exposed: state } : {}) });
    lifecycle.setReady(request.role);
    surroundings.onServing?.();
  } catch (error) {
    lifecycle.drain();
    await lifecycle.run();
    throw error;
  }
  await lifecycle.run();
}
