/** The agent, put together: this file is the only one that knows all of its parts. */
import { once } from 'node:events';
import type http from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { AgentMetrics } from '../telemetry/agent-metrics.ts';
import type { ExposedState } from '../telemetry/exposition.ts';
import type { KeptMemory } from './accepted-callers.ts';
import { Access, type AccessTimes } from './access.ts';
import { BlobServer } from './blob-server.ts';
import { BlobStreams } from './blob-stream.ts';
import { BlockProxy } from './block-proxy.ts';
import { createClientServer } from './client-server.ts';
import { CredentialEndpoint } from './device-credentials/credential-endpoint.ts';
import { CredentialFile } from './device-credentials/credential-file.ts';
import type { CredentialSource } from './device-credentials/credential-sources.ts';
import { FirstBytes } from './first-bytes.ts';
import { TokenBucket } from './limits.ts';
import { PieceLists } from './load-piece-lists.ts';
import { LoopLag } from './loop-lag.ts';
import { Manifests } from './manifests.ts';
import { Mirror } from './mirror.ts';
import type { OwnCertificate } from './own-certificate.ts';
import { endOf, expiryOf } from './peer-identity.ts';
import { ExchangeClient } from './peers/exchange-client.ts';
import { createExchangeServer } from './peers/exchange-server.ts';
import { ContentStore } from './peers/holder.ts';
import { HolderAnnouncer } from './peers/holder-announcer.ts';
import { Membership, viewOf } from './peers/membership.ts';
import { PeerWatch } from './peers/peer-watch.ts';
import type { MemberSource } from './peers/peers.ts';
import { Swarms } from './peers/swarms.ts';
import type { Peer } from './peers/topology.ts';
import { Tracker } from './peers/tracker.ts';
import { Attestations, type Identity } from './pieces/attestation.ts';
import { Dragonfly } from './pieces/dragonfly.ts';
import { PieceFetcher } from './pieces/fetch-piece.ts';
import { Origin } from './pieces/origin.ts';
import type { EngineName } from './pieces/piece-engine.ts';
import { notePiece } from './pieces/record.ts';
import { PieceStore, type StoreOptions } from './pieces/store.ts';
import { type Upstream, Upstreams } from './pieces/upstreams.ts';
import { PieceVerifier } from './pieces/verify.ts';
import { rarely } from './rarely.ts';
import { type AgentReport, degradedParts, reportAgent } from './served-report.ts';
import { Foreground } from './urgency.ts';
import { LocalApi } from './warm/local-api.ts';
import { answerPrefetch } from './warm/peer-prefetch.ts';
import { PrefetchFleet } from './warm/prefetch-fleet.ts';
import { PrefetchJobs } from './warm/prefetch-jobs.ts';

/** Where a server listens. */
export interface Listen {
  readonly host: string;
  readonly port: number;
  /** A descriptor that is bound there already. */
  readonly fd?: number | undefined;
}

/** All settings of an agent. */
export interface AgentOptions {
  readonly self: Peer;
  readonly upstreams: readonly Upstream[];
  readonly members: MemberSource;
  /** Undefined: agents speak in the clear, unless there is {@link certificate}. */
  readonly identity: Identity | undefined;
  /** The certificate that this agent asks for and renews, in the place of `identity`. */
  readonly certificate?: OwnCertificate | undefined;
  /** For container runtimes and devices. */
  readonly clients: Listen;
  /** For other agents. */
  readonly peers: Listen;
  readonly store: StoreOptions;
  /** The runtime's content store; undefined without one. */
  readonly contentStore: string | undefined;
  readonly blockPrefix: string;
  readonly access: AccessTimes;
  /** Kept for the process that takes the place of this one. */
  readonly memory?: KeptMemory | undefined;
  readonly staleTags: boolean;
  /** No byte of a blob goes to a runtime before the blob's digest was right. */
  readonly strict: boolean;
  /** Bytes a second; `Infinity` for no limit. */
  readonly rates: {
    readonly toClients: number;
    readonly toPeers: number;
    readonly fromOrigin: number;
    readonly prefetch?: number;
  };
  /** Blobs that are sent to clients at once. */
  readonly concurrency: number;
  /** Credentials for block devices; none are given out unless given. */
  readonly credentials?: {
    /** Answer overlaybd on the clients' port. */
    readonly serve: boolean;
    /** The file to keep for overlaybd. */
    readonly file: string | undefined;
    /** Milliseconds between two looks at the sources. */
    readonly every: number;
    readonly source: CredentialSource;
  };
  /** Who shares bytes between nodes: the agents themselves unless given. */
  readonly engine?: EngineName;
  /** Where dfdaemon's proxy is, for the engine `dragonfly`. */
  readonly dragonfly?: Listen;
  /** Milliseconds between two looks at whether any other agent can be reached. */
  readonly watchEvery?: number;
  /** Milliseconds to wait for the first view of the members before clients are served. */
  readonly firstView?: number;
  /** Milliseconds without anything coming for a blob after which its client is not kept waiting. */
  readonly patience?: number;
  readonly metrics: AgentMetrics;
  /** Metrics and health that are answered on the port of the clients. */
  readonly exposed?: ExposedState | undefined;
  readonly log: (line: string) => void;
}

/** A running agent. */
export interface Agent {
  /** Where it listens, with the ports that the system chose. */
  readonly addresses: { readonly clients: Listen; readonly peers: Listen };
  readonly metrics: AgentMetrics;
  /** Why it cannot serve well now; undefined when it can. */
  unready(): string | undefined;
  /** Lists what does not work though it serves, with the part before each reason. */
  degraded(): readonly string[];
  /** Bytes of the cache on disk. */
  readonly cache: { readonly allocated: number; readonly used: number };
  /** Reports what this node served and pulled. */
  report(): Promise<AgentReport>;
  /** Leaves the cache on disk and the memory to another agent, or takes the cache back; resolves when nothing is being written any more. */
  setFrozen(frozen: boolean): Promise<void>;
  /** Stops taking requests, lets those that run finish for at most `drain` milliseconds, and lets go of everything. */
  close(drain?: number): Promise<void>;
}

/** Clients that may be connected at once, and agents. */
const BACKLOG = 1024;
/** Where dfdaemon's proxy listens unless configured otherwise. */
const DFDAEMON: Listen = { host: '127.0.0.1', port: 4001 };
/** Milliseconds for the first view of the members. */
const FIRST_VIEW = 10_000;

/** Starts an agent. Rejects when a port is taken or the cache cannot be opened. */
export async function startAgent(options: AgentOptions): Promise<Agent> {
  const stop = new AbortController();
  const { metrics, certificate } = options;
  const identity = certificate?.current ?? options.identity;
  const upstreams = new Upstreams(options.upstreams);
  const membership = new Membership({
    self: options.self,
    source: options.members,
    onChange: ({ members }) => options.log(`members: ${members.peers.length}`),
    onProblem: (problem) =>
      options.log(`members could not be read from ${options.members.name}: ${messageOf(problem)}`),
  });
  const { engine: engineName = 'builtin' } = options;
  const engine = engineName === 'dragonfly' ? new Dragonfly(options.dragonfly ?? DFDAEMON) : undefined;
  // Where another system shares the bytes, no agent asks another one for them.
  const alone = viewOf(options.self, [options.self]);
  // Without a certificate that holds nobody would answer.
  const view = () => (engineName === 'builtin' && certificate?.isUsable !== false ? membership.view : alone);
  const attestations = identity === undefined ? undefined : new Attestations(identity);
  const store = await PieceStore.open({
    ...options.store,
    opensAtOnce: true,
    onProblem: (problem) =>
      options.log(
        problem === undefined
          ? 'the cache is written again'
          : `the cache cannot be written, and is tried again: ${problem}`,
      ),
    onDisk: (operation, id, use) => notePiece(metrics.activity, operation, id, use),
  });
  const foreground = new Foreground();
  const origin = new Origin({
    upstreams,
    foreground,
    bucket: new TokenBucket(options.rates.fromOrigin),
    onBytes: (registry, bytes) => metrics.fromOrigin.inc({ registry }, bytes),
  });
  const lag = new LoopLag();
  const others = () => view().members.peers.filter(({ id }) => id !== options.self.id);
  const watch: PeerWatch = new PeerWatch({
    others,
    ping: (peer) => client.ping(peer),
    log: options.log,
    every: options.watchEvery,
  });
  const client = new ExchangeClient(options.self, identity, {
    lag: () => lag.milliseconds,
    onOutcome: (node, problem) => watch.note(node, problem),
  });
  const tracker = new Tracker();
  const swarms = new Swarms({ view, client, tracker, health: membership });
  const content = options.contentStore === undefined ? undefined : new ContentStore(options.contentStore);
  const verifier = new PieceVerifier({ attestations, members: () => membership.view.members });
  const peerBucket = new TokenBucket(options.rates.toPeers);
  const fetcher = new PieceFetcher({
    bucket: peerBucket,
    store,
    origin,
    client,
    verifier,
    attestations,
    swarms,
    content,
    health: membership,
    view,
    metrics,
    foreground,
    engine,
  });
  const streams = new BlobStreams(fetcher, options.patience);
  const manifests = new Manifests();
  const access = new Access(origin, metrics, { times: options.access, memory: options.memory });
  const lists = new PieceLists({ streams, manifests, verifier });
  const blobs = new BlobServer({
    strict: options.strict,
    access,
    manifests,
    streams,
    swarms,
    lists,
    firstBytes: new FirstBytes({ origin, fetcher, foreground, metrics }),
    metrics,
    bucket: new TokenBucket(options.rates.toClients),
    concurrency: options.concurrency,
  });
  const mirror = new Mirror({ upstreams, origin, access, manifests, blobs, metrics, staleTags: options.staleTags });
  const prefetches = new PrefetchJobs({
    upstreams,
    access,
    store,
    fetcher,
    swarms,
    foreground,
    bucket: new TokenBucket(options.rates.prefetch ?? Number.POSITIVE_INFINITY),
  });
  const api = new LocalApi(new PrefetchFleet({ jobs: prefetches, client, self: options.self, others }));
  const { credentials } = options;
  const endpoint = credentials?.serve === true ? new CredentialEndpoint(credentials.source, upstreams) : undefined;
  const block = new BlockProxy({ prefix: options.blockPrefix, upstreams, blobs, activity: metrics.activity });
  const exchange = createExchangeServer({
    identity,
    view,
    health: membership,
    fetcher,
    tracker,
    metrics,
    bucket: peerBucket,
    pulling: (digest) => blobs.pulling(digest) ?? prefetches.pulling(digest),
    prefetch: (id, request, response) => answerPrefetch(prefetches, id, request, response),
    ping: (peer) => client.ping(peer),
    onRefused: rarely((address, reason) => options.log(`another agent at ${address} was refused: ${reason}`)),
    signal: stop.signal,
  });
  certificate?.onChange((next) => {
    for (const part of [exchange, client, attestations]) part?.use(next);
  });
  const draining = new AbortController();
  const { exposed } = options;
  const clients = createClientServer({ mirror, block, api, endpoint, metrics, exposed, stop: stop.signal });
  const announcer = new HolderAnnouncer({ content, store, swarms, manifests });
  metrics.observe({
    cacheUsed: () => store.statistics.used,
    cacheAllocated: () => store.statistics.allocated,
    cacheMemory: () => store.statistics.memory,
    cachePieces: () => store.statistics.pieces,
    cacheQueued: () => store.statistics.queued,
    cacheUnwritten: () => store.statistics.unwritten,
    cacheDamaged: () => store.statistics.damaged,
    piecesInFlight: () => fetcher.inFlight,
    originWaiting: () => origin.waiting,
    clientPieces: () => streams.held,
    uploads: () => exchange.slots.held,
    uploadsWaiting: () => exchange.slots.waiting,
    cacheOff: () => Number(store.problem !== undefined),
    alone: () => Number(watch.degraded !== undefined),
    unreached: () => watch.size,
    certificateEnds: () => (certificate?.end ?? (identity && endOf(identity)) ?? 0) / 1000,
    members: () => membership.view.members.peers.length,
    membersAge: () => membership.age / 1000,
    suspects: () => membership.suspects.length,
    swarms: () => swarms.size,
    tracked: () => tracker.size,
    prefetches: () => prefetches.running,
    prefetchesPaused: () => foreground.paused,
  });
  const servers = [clients, exchange.server];
  for (const server of servers) endConnectionsWhen(draining.signal, server);
  const close = async (drain = 0) => {
    draining.abort();
    const ended = Promise.all(servers.filter(({ listening }) => listening).map((server) => once(server, 'close')));
    for (const server of servers) server.close();
    for (const server of servers) server.closeIdleConnections();
    if (drain > 0) {
      const over = new AbortController();
      await Promise.race([ended, sleep(drain, undefined, { signal: over.signal }).catch(() => undefined)]);
      over.abort();
    }
    stop.abort(new Error('the agent stops'));
    prefetches.close();
    await swarms.close();
    for (const server of servers) server.closeAllConnections();
    client.close();
    engine?.close();
    lag.close();
    await origin.close();
    await Promise.all([options.members.close?.(), certificate?.close()]);
    await store.close();
  };
  try {
    // Peers may ask as soon as others see this node; clients only when it has a view.
    const peers = await listen(exchange.server, options.peers);
    const first = AbortSignal.any([stop.signal, AbortSignal.timeout(options.firstView ?? FIRST_VIEW)]);
    await membership.refresh(first);
    const served = await listen(clients, options.clients);
    void membership.run(stop.signal);
    void certificate?.run(stop.signal);
    if (credentials?.file !== undefined) {
      const { file: path, source, every } = credentials;
      const { hosts: registries } = upstreams;
      void new CredentialFile({ path, source, every, registries, log: options.log }).run(stop.signal);
    }
    void watch.run(stop.signal);
    if (engineName === 'builtin') void store.rebuilt.then(() => announcer.run(stop.signal));
    const unready = () => (membership.ready ? undefined : 'the members of the peer network are not known yet');
    const degraded = () =>
      degradedParts({
        peers: watch.degraded,
        certificate: certificate === undefined ? identity && expiryOf(identity, Date.now()) : certificate.problem,
        members: membership.stale,
        cache: store.problem,
      });
    const started = new Date();
    const report = () =>
      reportAgent({
        self: membership.view.self,
        metrics,
        started,
        unready: unready(),
        degraded: degraded(),
        peers: watch.problems,
        members: membership.view.members.peers.length,
        store: store.statistics,
      });
    const setFrozen = (frozen: boolean) => {
      if (frozen) access.flush();
      return store.setFrozen(frozen);
    };
    const addresses = { clients: served, peers };
    return {
      addresses,
      metrics,
      unready,
      degraded,
      report,
      setFrozen,
      close,
      get cache() {
        return store.statistics;
      },
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Keeps no connection from then on: one that is kept would be cut later, perhaps under a request. */
function endConnectionsWhen(draining: AbortSignal, server: http.Server): void {
  server.prependListener('request', (_, response: http.ServerResponse) => {
    if (draining.aborted) response.shouldKeepAlive = false;
    response.on('finish', () => {
      if (draining.aborted) setImmediate(() => server.closeIdleConnections());
    });
  });
}

async function listen(server: http.Server, { host, port, fd }: Listen): Promise<Listen> {
  server.listen({ ...(fd === undefined ? { host, port } : { fd }), backlog: BACKLOG });
  await once(server, 'listening');
  const address = server.address() as AddressInfo;
  return { host, port: address.port };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
