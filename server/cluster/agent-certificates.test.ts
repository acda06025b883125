/** Certificates of agents from a real API server and the controller: who gets one, renewal under traffic, and a controller that is away. */
import { createHash, randomBytes, X509Certificate } from 'node:crypto';
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { freePort } from '../../tests/support/loopback.ts';
import { startAgentRole } from '../agent/agent-role.ts';
import { OwnCertificate } from '../agent/own-certificate.ts';
import { certificatesIn } from '../agent/pem-file.ts';
import { isFor, isIssuedBy } from '../agent/pieces/attestation.ts';
import { agentInCluster } from '../agent-in-cluster.ts';
import { createSigningRequest } from '../certificates/signing-request.ts';
import { CONFIG_SCHEMA } from '../config/schema.ts';
import { startDemoRegistry } from '../demo/demo-registry.ts';
import { writeImageLayout } from '../demo/image-layout.ts';
import { CertificateRequests } from './certificate-requests.ts';
import { type KubeObject, RESOURCES } from './kube/kube-resources.ts';
import type { KubeClient } from './kube.ts';
import type { SigningRequestObject } from './signing-requests.ts';
import { ACCOUNT, agentRules, putKubeconfig, putNode, putPod } from './testing/agent-pods.ts';
import {
  CONTROLLER_USER,
  controllerRules,
  SIGNER,
  startTestController,
  type TestController,
} from './testing/controller.ts';
import { describeWithCluster, eventually, startCluster, type TestCluster } from './testing/kube-cluster.ts';
import { ownAddress } from './testing/own-address.ts';
import { roleSurroundings } from './testing/role-surroundings.ts';
import { RELEASE } from './testing/webhook.ts';

const { endpointSlices, namespaces, signingRequests, secrets, serviceAccounts } = RESOURCES;
const SECRET = 'accel-agents-own';
const SERVICE = 'accel-agents';
const STRANGER = 'stranger';

describeWithCluster('certificates of agents', { address: true }, () => {
  let cluster: TestCluster;
  let admin: KubeClient;
  let controller: TestController | undefined;
  let folder: string;
  const host = ownAddress() ?? '';
  const open: { close(): Promise<unknown> }[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'accel-certificates-'));
    cluster = await startCluster({ users: [CONTROLLER_USER] });
    admin = await cluster.client();
    await admin.create(namespaces, { apiVersion: 'v1', kind: 'Namespace', metadata: { name: RELEASE } });
    for (const name of [ACCOUNT, STRANGER]) {
      const metadata = { name, namespace: RELEASE };
      await admin.create(serviceAccounts, { apiVersion: 'v1', kind: 'ServiceAccount', metadata });
    }
    // As the chart makes it: the controller may fill this one, and make no other.
    await admin.create(secrets, { apiVersion: 'v1', kind: 'Secret', metadata: { name: SECRET, namespace: RELEASE } });
    // The stranger may ask, so that it is the controller that says no.
    const items = [...controllerRules([]), ...agentRules([ACCOUNT, STRANGER])];
    await cluster.kubectl(['apply', '-f', '-'], { input: JSON.stringify({ apiVersion: 'v1', kind: 'List', items }) });
    await putNode(cluster, 'node-a', [host, '10.0.0.1']);
    await putNode(cluster, 'node-b', ['10.0.0.2']);
    await putPod(cluster, 'agent-a', { node: 'node-a', address: host });
    await putPod(cluster, 'agent-b', { node: 'node-b', address: '10.0.0.2' });
  });
  afterEach(async () => {
    for (const one of open.splice(0).reverse()) await one.close();
    await controller?.stop();
    controller = undefined;
  });
  afterAll(async () => {
    await cluster?.stop();
    await rm(folder, { recursive: true, force: true });
  });

  const startSigning = async (agentCertificates: object = {}) => {
    controller = await startTestController(cluster, {
      cluster: { controller: { agentCertificates: { signer: SIGNER, ...agentCertificates } } },
    });
    return controller;
  };
  async function requests(kubeconfig: string, signer = SIGNER): Promise<CertificateRequests> {
    const asking = await CertificateRequests.open({ kubeconfig, signer, log: () => undefined });
    open.push(asking);
    return asking;
  }
  /** Asks for a certificate of a node. */
  async function ask(kubeconfig: string, node: string) {
    const { request } = await createSigningRequest('anything', `accel-agent:${node}`);
    return (await requests(kubeconfig)).issue(request, AbortSignal.timeout(20_000));
  }
  const allRequests = async () => {
    const found: SigningRequestObject[] = [];
    await admin.list(signingRequests, {}, (object) => found.push(object as SigningRequestObject));
    return found;
  };

  it('are for the node of the pod that asks; nodes see neither the key of the authority nor that of another', async () => {
    await startSigning();
    const kubeconfig = await putKubeconfig(cluster, 'agent-b');
    const { cert, ca } = await ask(kubeconfig, '10.0.0.2:65002');
    const own = new X509Certificate(cert);
    expect(own.subjectAltName).toBe('URI:accel-agent:10.0.0.2:65002, IP Address:10.0.0.2');
    expect(own.ca).toBe(false);
    expect(isFor(own, '10.0.0.2:65002')).toBe(true);
    expect(isIssuedBy(own, certificatesIn(ca))).toBe(true);
    const days = (Date.parse(own.validTo) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(13.9);
    expect(days).toBeLessThan(14.1);
    // All that the API has of it is public.
    expect(JSON.stringify(await allRequests())).not.toContain('PRIVATE');
    const agent = ['--kubeconfig', kubeconfig, '-n', RELEASE];
    await expect(cluster.kubectl([...agent, 'get', 'secret', SECRET])).rejects.toThrow('Forbidden');
    expect(await controller!.figure('accel_controller_agent_certificates_total{outcome="signed"}')).toBe(1);
    const end = await controller!.figure('accel_controller_agent_authority_end_seconds');
    expect(end * 1000).toBeGreaterThan(Date.now() + 1000 * 86_400_000);
    expect(controller!.log.join('\n')).not.toContain('PRIVATE');
  });

  it.each<[string, { pod?: string; account?: string; node: string; before?: () => Promise<unknown> }, string]>([
    [
      'another node',
      { pod: 'agent-b', node: '10.0.0.1:65002' },
      '10.0.0.1 is no address of the node of the pod agent-b',
    ],
    ['no node at all', { pod: 'agent-b', node: 'node-b' }, 'it does not name one node'],
    [
      'a pod of another account',
      { pod: 'other', account: STRANGER, node: '10.0.0.2:65002' },
      'only the service account',
    ],
    ['another account without a pod', { account: STRANGER, node: '10.0.0.2:65002' }, 'only the service account'],
    ['a token without a pod', { node: '10.0.0.2:65002' }, 'the token is bound to no pod'],
    [
      'a node whose kubelet takes the address of another',
      {
        pod: 'thief',
        node: '10.0.0.1:65002',
        before: async () => {
          await putNode(cluster, 'node-t', ['10.0.0.1']);
          await putPod(cluster, 'thief', { node: 'node-t', address: '10.0.0.1' });
        },
      },
      '10.0.0.1 is an address of node-a and node-t',
    ],
    [
      'a pod that claims the address of another node alone',
      {
        pod: 'claims',
        node: '10.0.0.1:65002',
        before: async () => {
          await cluster.kubectl(['delete', 'node', 'node-t']);
          await putPod(cluster, 'claims', { node: 'node-b', address: '10.0.0.1' });
        },
      },
      '10.0.0.1 is an address of node-a',
    ],
  ])('are not given to %s', async (_, { pod, account, node, before }, reason) => {
    await before?.();
    if (pod === 'other') await putPod(cluster, pod, { node: 'node-b', address: '10.0.0.2', account: STRANGER });
    const kubeconfig = await putKubeconfig(cluster, pod, account);
    await startSigning();
    await expect(ask(kubeconfig, node)).rejects.toThrow(reason);
    expect(await controller!.figure('accel_controller_agent_certificates_total{outcome="denied"}')).toBe(1);
    expect(await controller!.figure('accel_controller_agent_certificates_total{outcome="signed"}')).toBe(0);
    expect(controller!.log.join('\n')).toContain(reason);
  });

  it('are not given for a request that its key has not signed', async () => {
    await startSigning();
    const asking = await requests(await putKubeconfig(cluster, 'agent-b'));
    const [mine, other] = [
      await createSigningRequest('a', 'accel-agent:10.0.0.2:65002'),
      await createSigningRequest('a', 'accel-agent:10.0.0.2:65002'),
    ];
    const bytes = (pem: string) => Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ''), 'base64');
    // The signature of another key over the same names.
    const [a, b] = [bytes(mine.request), bytes(other.request)];
    const forged = Buffer.concat([a.subarray(0, -60), b.subarray(-60)]).toString('base64');
    const pem = `-----BEGIN CERTIFICATE REQUEST-----\n${forged}\n-----END CERTIFICATE REQUEST-----\n`;
    const refused = asking.issue(pem, AbortSignal.timeout(20_000)).catch((error: Error) => error.message);
    // The API itself looks at signatures where it can read the request.
    expect(await refused).toMatch(/refused|signature|Invalid/);
    expect(await controller!.figure('accel_controller_agent_certificates_total{outcome="signed"}')).toBe(0);
  });

  it('of another signer are left to whoever answers for it', async () => {
    await startSigning();
    const asking = await requests(await putKubeconfig(cluster, 'agent-b'), 'accel.dev/other-release');
    const { request } = await createSigningRequest('a', 'accel-agent:10.0.0.2:65002');
    const stop = new AbortController();
    const answer = asking.issue(request, stop.signal).catch((error: Error) => error.message);
    await ask(await putKubeconfig(cluster, 'agent-b'), '10.0.0.2:65002');
    stop.abort(new Error('still open'));
    expect(await answer).toBe('still open');
    const left = (await allRequests()).filter(({ spec }) => spec.signerName === 'accel.dev/other-release');
    expect(left.map(({ status }) => status)).toEqual([{}]);
  });

  it('wait for a controller with one request, are kept for the next process, and say what is missing', async () => {
    const kubeconfig = await putKubeconfig(cluster, 'agent-b');
    const file = join(folder, 'kept', 'identity.pem');
    const before = (await allRequests()).length;
    const options = { self: '10.0.0.2:65002', file, log: () => undefined };
    const own = await OwnCertificate.open({ ...options, issuer: await requests(kubeconfig) });
    const stop = new AbortController();
    const running = own.run(stop.signal);
    expect([own.isUsable, own.end, own.problem]).toEqual([false, 0, `none yet: the signer ${SIGNER} was asked`]);
    await eventually(async () => (await allRequests()).length === before + 1);
    await delay(1_500);
    expect((await allRequests()).length).toBe(before + 1);
    await startSigning();
    await eventually(async () => own.isUsable);
    expect(own.problem).toBeUndefined();
    stop.abort();
    await running;
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readFile(file, 'utf8')).toContain('PRIVATE KEY');
    // The controller goes, and the agent's process is replaced: it has what it had.
    await controller!.stop();
    controller = undefined;
    const next = await OwnCertificate.open({ ...options, issuer: await requests(kubeconfig) });
    expect(next.current.cert).toBe(own.current.cert);
    expect([next.isUsable, next.problem]).toEqual([true, undefined]);
    // The file of a node is of no use to another one.
    const moved = await OwnCertificate.open({ ...options, self: '10.0.0.1:65002', issuer: await requests(kubeconfig) });
    expect(moved.isUsable).toBe(false);
  });

  it('are renewed under traffic without a failed request, and also after controller and API were away', async () => {
    const layout = join(folder, 'layout');
    // Many layers, so that there is always one to pull that nobody has yet.
    const image = await writeImageLayout(
      layout,
      Array.from({ length: 120 }, () => randomBytes(300_000)),
    );
    const registry = await startDemoRegistry({ layout });
    open.push(registry);
    const lifetime = 4;
    await startSigning({ lifetime: `${lifetime}s`, authorityLifetime: '1d' });
    const agents: {
      readonly url: string;
      readonly role: ReturnType<typeof roleSurroundings>;
      readonly port: number;
    }[] = [];
    for (const number of [0, 1]) {
      const [port, clients] = [await freePort(), await freePort()];
      const config = CONFIG_SCHEMA.parse({
        registries: [{ host: registry.host, plain: true }],
        agent: {
          listen: `127.0.0.1:${clients}`,
          peerListen: `${host}:${port}`,
          advertise: `${host}:${port}`,
          contentStore: join(folder, 'none'),
          cache: { path: join(folder, `cache-${number}`), keepFree: 0 },
          peers: {
            service: { name: SERVICE, namespace: RELEASE },
            signer: { name: SIGNER, file: join(folder, `identity-${number}.pem`) },
          },
        },
        cluster: { kubeconfig: await putKubeconfig(cluster, 'agent-a') },
      });
      await admin.create(endpointSlices, {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { name: `agent-${number}`, namespace: RELEASE, labels: { 'kubernetes.io/service-name': SERVICE } },
        addressType: 'IPv4',
        ports: [{ name: 'peers', port }],
        endpoints: [{ addresses: [host], nodeName: 'node-a' }],
      } as KubeObject);
      const role = roleSurroundings('agent', config);
      open.push({ close: () => role.stop() });
      await startAgentRole(role.context, agentInCluster(role.context.metrics));
      agents.push({ url: `http://127.0.0.1:${clients}`, role, port });
    }
    const figure = (number: number, name: string) => agents[number]!.role.figure(`accel_agent_${name}`);
    const renewed = () =>
      Promise.all([0, 1].map((number) => figure(number, 'certificate_renewals_total{outcome="renewed"}')));
    await eventually(async () => (await figure(0, 'members')) === 2 && (await figure(1, 'members')) === 2);
    let [pulled, next] = [0, 0];
    const stop = new AbortController();
    const traffic = (async () => {
      while (!stop.signal.aborted && next < image.layers.length) {
        const { digest } = image.layers[next++]!;
        await Promise.all(
          agents.map(async ({ url }) => {
            const got = await fetch(`${url}/v2/team/app/blobs/${digest}?ns=${registry.host}`);
            const bytes = Buffer.from(await got.arrayBuffer());
            expect(`sha256:${createHash('sha256').update(bytes).digest('hex')}`).toBe(digest);
          }),
        );
        pulled += image.layers[next - 1]!.size;
        await delay(120);
      }
    })();
    const started = Date.now();
    // Longer than a certificate holds: without renewals nobody would answer any more.
    await eventually(async () => (await renewed()).every((count) => count >= 4));
    expect(Date.now() - started).toBeGreaterThan(lifetime * 1000);
    for (const number of [0, 1]) {
      expect(await figure(number, 'refused_handshakes_total')).toBe(0);
      expect(await figure(number, 'peer_failures_total{reason="dead"}')).toBe(0);
    }
    // Controller and API go for the last third of a life, and a little more.
    await controller!.stop();
    controller = undefined;
    await cluster.down();
    await eventually(async () => (await figure(0, 'certificate_end_seconds')) * 1000 < Date.now());
    const degraded = () => agents[0]!.role.context.lifecycle.degraded().join('\n');
    await eventually(async () => /^certificate: it ended at /m.test(degraded()));
    // Its own node is served all the same, and it is ready.
    expect(agents[0]!.role.context.lifecycle.unready()).toEqual([]);
    const served = next;
    await eventually(async () => next > served + 1);
    await cluster.up();
    const count = (await renewed())[0]!;
    await startSigning({ lifetime: `${lifetime}s`, authorityLifetime: '1d' });
    await eventually(async () => (await renewed())[0]! > count);
    await eventually(async () => degraded() === '');
    stop.abort();
    // Peers refuse a certificate that has ended; what is asked for then comes from the registry.
    await traffic;
    expect(pulled).toBeGreaterThan(0);
    const received = await Promise.all(
      [0, 1].map((number) => figure(number, `peer_received_bytes_total{registry="${registry.host}"}`)),
    );
    expect(received[0]! + received[1]!).toBeGreaterThan(pulled / 2);
  });
});
