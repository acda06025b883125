/** The role `agent` of the server: starts an agent from the configuration, and ends it with the process. */
import { milliseconds } from '../config/schema.ts';
import type { RoleContext } from '../role.ts';
import { AgentMetrics } from '../telemetry/agent-metrics.ts';
import { type Agent, startAgent } from './agent.ts';
import { agentOptions } from './agent-options.ts';

/** Milliseconds before the end of the time for draining at which transfers are cut. */
const RESERVE = 1_000;

/** Milliseconds between two looks at whether the agent is ready. */
const LOOK_EVERY = 1_000;

/** Starts the agent of this node; resolves when it answers. */
export async function startAgentRole({ config, metrics, lifecycle, log }: RoleContext): Promise<void> {
  const options = await agentOptions(config, { metrics: new AgentMetrics(metrics), log });
  const agent = await startAgent(options);
  lifecycle.started('agent', (stopped) =>
    agent.close(stopped.aborted ? 0 : Math.max(0, milliseconds(config.drain) - RESERVE)),
  );
  watchReadiness(agent, lifecycle);
  const { clients, peers } = agent.addresses;
  log(`mirror and block proxy at http://${clients.host}:${clients.port}, other agents at ${peers.host}:${peers.port}`);
  if (options.upstreams.length === 0) log('no registries are configured: nothing can be pulled through this agent');
}

/** Reports the agent as not ready until it knows the members of its network. */
function watchReadiness(agent: Agent, lifecycle: RoleContext['lifecycle']): void {
  const reason = agent.unready();
  lifecycle.setReady('peers', reason);
  if (reason === undefined || lifecycle.draining.aborted) return;
  setTimeout(() => watchReadiness(agent, lifecycle), LOOK_EVERY).unref();
}
