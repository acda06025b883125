/** Checks of the agent itself and of the registries: whether they answer, clocks, and credentials. */
import { readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { isRecord } from '../../../base/is-record.ts';
import { hostAndPort } from '../../config/schema.ts';
import { checkSkew } from './check-clock.ts';
import { type Check, type Examined, failed, ok } from './node-check.ts';
import { probe, reasonOf } from './probe.ts';
import { setupTarget } from './setup.ts';
import { serverOf } from './setup-containerd.ts';

/** Milliseconds for a connection on this node. */
const CONNECT = 2_000;
const RUN = 'Start it: systemctl start accel-agent, or accel agent run. Its log says why it ended.';

/** Whether the agent answers clients and is ready. */
export async function checkAgent({ config }: Examined): Promise<readonly Check[]> {
  const { agent } = setupTarget(config);
  const telemetry = localUrl(config.telemetry.listen);
  const [ready, mirror] = await Promise.all([answer(`${telemetry}/readyz`), answer(`${agent}/v2/`)]);
  const checks: Check[] = [];
  if (typeof ready === 'string') checks.push(failed('agent', `${telemetry}/readyz: ${ready}`, RUN));
  else if (ready.status === 200) checks.push(ok('agent', 'it is ready'));
  else
    checks.push(failed('agent', `it is not ready: ${ready.body.trim()}`, 'See agent.peers in docs/configuration.md.'));
  if (typeof mirror === 'string') checks.push(failed('port of clients', `${agent}: ${mirror}`, RUN));
  else if ([200, 401, 404].includes(mirror.status)) checks.push(ok('port of clients', `${agent} answers`));
  else {
    const fix = 'Another program has the port: stop it, or choose another agent.listen and run setup again.';
    checks.push(failed('port of clients', `${agent}/v2/ answers ${mirror.status}`, fix));
  }
  const { host, port } = hostAndPort(config.agent.peerListen);
  const refused = await cannotConnect(host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host, port);
  checks.push(
    refused === undefined
      ? ok('port of agents', `${config.agent.peerListen} accepts connections`)
      : failed('port of agents', `${config.agent.peerListen}: ${refused}`, RUN),
  );
  return checks;
}

/** Whether each registry answers, its clock, and the credentials that are configured for it. */
export async function checkRegistries({ config }: Examined): Promise<readonly Check[]> {
  const { registries } = setupTarget(config);
  if (registries.length === 0)
    return [failed('registries', 'none is configured', 'Name them: registries: [{host: …}].')];
  const checks = await Promise.all(
    registries.map(async (registry, index): Promise<readonly Check[]> => {
      const name = `registry ${registry.host}`;
      try {
        const ca = registry.caFile === undefined ? undefined : await readFile(registry.caFile, 'utf8');
        const { status, skew } = await probe(`${serverOf(registry)}/v2/`, ca);
        const isRegistry = status === 200 || status === 401 || status === 403;
        return [
          isRegistry
            ? ok(name, `it answers ${status}`)
            : failed(name, `/v2/ answers ${status}`, 'Is this the host of a registry?'),
          ...checkSkew(`clock against ${registry.host}`, skew === undefined ? [] : [skew]),
          ...(await credentials(config.registries[index]?.credentialsFile, registry.host)),
        ];
      } catch (error) {
        const fix =
          'Check name, network and caFile. Doctor uses no proxy: where one is needed, this check says nothing.';
        return [failed(name, reasonOf(error), fix)];
      }
    }),
  );
  return checks.flat();
}

async function credentials(file: string | undefined, host: string): Promise<readonly Check[]> {
  if (file === undefined) return [];
  const name = `credentials for ${host}`;
  const fix = `${file} has to be in the form of Docker's config.json, with an entry for ${host}.`;
  try {
    const { auths, credHelpers, credsStore } = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    const has = [auths, credHelpers].some((map) => isRecord(map) && Object.keys(map).some((key) => key.includes(host)));
    return [has || typeof credsStore === 'string' ? ok(name, `${file} has an entry`) : failed(name, 'no entry', fix)];
  } catch (error) {
    // A message of JSON quotes the text, which holds secrets.
    return [failed(name, error instanceof SyntaxError ? 'the file is not JSON' : reasonOf(error), fix)];
  }
}

async function answer(url: string) {
  return probe(url).catch(reasonOf);
}

function cannotConnect(host: string, port: number): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: CONNECT });
    const end = (reason: string | undefined) => {
      socket.destroy();
      resolve(reason);
    };
    socket.once('connect', () => end(undefined));
    socket.once('timeout', () => end('no connection in time'));
    socket.once('error', (error) => end(reasonOf(error)));
  });
}

/** The URL of an address on this machine. */
export function localUrl(listen: string): string {
  const { host, port } = hostAndPort(listen);
  const local = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host;
  return `http://${local.includes(':') ? `[${local}]` : local}:${port}`;
}
