/** The role `agent` of the server: starts an agent from the configuration, and ends it with the process. */
import { join } from 'node:path';
import { AccelError } from '../../base/error.ts';
import { bytesOf, type Config, milliseconds } from '../config/schema.ts';
import type { RoleContext } from '../role.ts';
import type { Activity } from '../telemetry/activity.ts';
import { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { AuditLog, type AuditTarget } from '../telemetry/audit-log.ts';
import { formatDadiMetrics } from '../telemetry/dadi-exposition.ts';
import { type Agent, startAgent } from './agent.ts';
import { agentOptions } from './agent-options.ts';
import { assertStartable } from './check-start.ts';
import type { ClusterParts } from './cluster-parts.ts';
import { FitnessWatch, findUnfitness } from './node/node-fitness.ts';
import type { AgentReport } from './served-report.ts';

/** Milliseconds before the end of the time for draining at which transfers are cut. */
const RESERVE = 1_000;

/** Milliseconds between two looks at whether the agent is ready. */
const LOOK_EVERY = 1_000;

/** Milliseconds for the first certificate: without one the agent serves its node alone, and other agents are asked later. */
const FIRST_CERTIFICATE = 5_000;

/** Starts the agent of this node; resolves when it answers. */
export async function startAgentRole(context: RoleContext, cluster?: ClusterParts): Promise<void> {
  const { config, metrics, lifecycle, log, handover } = context;
  const agentMetrics = new AgentMetrics(metrics);
  const options = {
    ...(await agentOptions(config, { metrics: agentMetrics, log, handover, cluster })),
    exposed: context.exposed,
  };
  await assertStartable(config, options);
  await options.certificate?.ready(AbortSignal.any([lifecycle.draining, AbortSignal.timeout(FIRST_CERTIFICATE)]));
  for (const [reason, count] of Object.entries(handover?.restarts ?? {})) agentMetrics.restarts.inc({ reason }, count);
  const agent = await startAgent(options);
  const { activity } = agentMetrics;
  const audit = startAudit(config, activity, log);
  lifecycle.started('audit log', () => audit?.close());
  const fitness = watchFitness(config, log);
  lifecycle.started('looks at the node', () => fitness?.close());
  metrics.document('/api/v1/agent', async () => {
    const accelerated = fitness?.latest;
    return { ...(await agent.report()), ...(accelerated === undefined ? {} : { accelerated }) } satisfies AgentReport;
  });
  metrics.prepend(() =>
    formatDadiMetrics({
      node: options.self.id,
      figures: (type) => activity.figures(type),
      cache: agent.cache,
      time: config.telemetry.timestamps ? Date.now() : undefined,
    }),
  );
  handover?.onFreeze(
    () => agent.setFrozen(true),
    () => void agent.setFrozen(false),
  );
  lifecycle.started('agent', (stopped) =>
    agent.close(stopped.aborted ? 0 : Math.max(0, milliseconds(config.drain) - RESERVE)),
  );
  watchReadiness(agent, lifecycle);
  if (handover === undefined) lifecycle.onReload(() => refuseReload(context));
  const { clients, peers } = agent.addresses;
  log(`mirror and block proxy at http://${clients.host}:${clients.port}, other agents at ${peers.host}:${peers.port}`);
  if (options.upstreams.length === 0) log('no registries are configured: nothing can be pulled through this agent');
}

/** A single process cannot take in another configuration; it says so, or what is wrong with the file. */
async function refuseReload({ readConfig }: RoleContext): Promise<never> {
  await readConfig();
  throw new AccelError('usage', 'an agent with agent.keepSockets: false reads its configuration at its start alone', {
    hint: 'Restart it.',
  });
}

/** Looks whether accelerated images can run on this node, where the configuration asks for it. */
function watchFitness(config: Config, log: (line: string) => void): FitnessWatch | undefined {
  const { nodeCheck } = config.agent;
  if (nodeCheck === undefined) return undefined;
  const { root, every } = nodeCheck;
  const onChange = ({ fit, reason }: { readonly fit: boolean; readonly reason: string | null }): void =>
    log(fit ? 'accelerated images can run on this node' : `accelerated images cannot run on this node: ${reason}`);
  return new FitnessWatch({ every: milliseconds(every), onChange }, () => findUnfitness(config, root));
}

/** Writes operations to the audit log, where the configuration asks for it. */
function startAudit({ agent }: Config, activity: Activity, log: (line: string) => void): AuditLog | undefined {
  if (!agent.logAudit) return undefined;
  const target: AuditTarget =
    agent.logAuditMode === 'stdout'
      ? { mode: 'stdout' }
      : {
          mode: 'file',
          path: join(agent.logDir, 'audit.log'),
          rotateAt: bytesOf(agent.logAuditSize),
          keep: agent.logAuditFiles,
        };
  const audit = new AuditLog(target, {
    onDropped: (lines) => activity.dropped(lines),
    onProblem: ({ message }) => log(`the audit log cannot be written, lines are dropped: ${message}`),
  });
  activity.audit(audit);
  return audit;
}

/** Reports the agent as not ready until it knows the members of its network, and what does not work all the time. */
function watchReadiness(agent: Agent, lifecycle: RoleContext['lifecycle']): void {
  const reason = agent.unready();
  lifecycle.setReady('peers', reason);
  lifecycle.setDegraded('agent', agent.degraded());
  if (lifecycle.draining.aborted) return;
  setTimeout(() => watchReadiness(agent, lifecycle), LOOK_EVERY).unref();
}
