/** Starts the HTTP server of the service: hooks, API and console. */
import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { AccelError } from '../../base/error.ts';
import { hostAndPort } from '../config/schema.ts';
import { TAKEN_ADDRESS } from '../config/taken-address.ts';
import type { RoleContext } from '../role.ts';
import { gatherAgents } from './agents/gather-agents.ts';
import { createApp } from './app.ts';
import { consoleRoutes } from './console/console-routes.ts';
import { requestConversion } from './request-conversion.ts';
import type { ServiceParts } from './service.ts';

/** Listens on `service.listen`; the lifecycle ends it. Fails with `io-error` where the address cannot be had. */
export async function serveApi(parts: ServiceParts, { lifecycle, metrics, log }: RoleContext): Promise<void> {
  const { queue, bus, events, settings } = parts;
  const { listen } = settings().config.service;
  const app = await createApp({
    queue,
    bus,
    sink: events,
    hooks: () => settings().hooks,
    tokens: () => settings().tokens,
    metrics,
    unready: () => lifecycle.unready(),
    convert: (request, signal) => requestConversion(request, { queue, settings: settings() }, signal),
    onIgnored: (kind, code) => parts.metrics.events.inc({ kind, decision: code }),
    audit: (entry) => log(`audit ${JSON.stringify(entry)}`),
    draining: lifecycle.draining,
    agents: gatherAgents(() => settings().config.service.agents),
    more: [consoleRoutes],
  });
  try {
    await app.listen(hostAndPort(listen));
  } catch (cause) {
    throw cannotListen(listen, cause);
  }
  lifecycle.started('API', () => app.close());
  const { address, family, port } = app.server.address() as AddressInfo;
  log(`API and console at http://${family === 'IPv6' ? `[${address}]` : address}:${port}/`);
}

/** Fails with `io-error` where the address cannot be had: before the workers begin what they would have to give up. */
export async function checkAddress(listen: string): Promise<void> {
  const server = createServer();
  try {
    await once(server.listen(hostAndPort(listen)), 'listening');
  } catch (cause) {
    throw cannotListen(listen, cause);
  }
  await new Promise((resolve) => server.close(resolve));
}

function cannotListen(listen: string, cause: unknown): AccelError {
  return new AccelError('io-error', 'cannot listen for hooks, API and console', {
    where: { key: 'service.listen', address: listen },
    found: (cause as Error).message,
    hint: TAKEN_ADDRESS,
    cause,
  });
}
