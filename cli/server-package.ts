/** The package of what runs all the time, accel-image-server: found, checked and loaded only by the commands that need it. */
import { AccelError, type AccelErrorCode, type AccelErrorDetails } from '../base/error.ts';
import { keepNewSpaceSmall } from '../base/new-space.ts';
import { VERSION } from '../base/version.ts';
import type { PruneReport } from '../converter/prune/prune-repository.ts';
import type { SignalSource } from './interrupt.ts';
import type { Output } from './terminal.ts';

/** Its name on npm. */
const SERVER_PACKAGE = 'accel-image-server';
/** The oldest major version of Node that it runs on. */
const OLDEST_NODE = 24;

/** A run that a command asks the package for. */
export interface ServerRequest {
  readonly role: string;
  readonly config: string;
  readonly check: boolean;
}

/** Certificates that a command asks the package for. */
export interface CertificatesRequest {
  /** Folder that the files go to. */
  readonly folder: string;
  /** Nodes that get a certificate, each `IP:PORT`. */
  readonly nodes: readonly string[];
  /** Days for which the nodes' certificates hold. */
  readonly days: number;
}

/** A node whose runtimes are set up or cleaned up. */
export interface NodeCommand {
  readonly command: 'setup' | 'cleanup';
  readonly root: string;
  readonly config?: string;
  readonly restart: boolean;
  readonly force?: boolean;
}

/** Reports what was done to a node. */
export interface NodeReport {
  readonly changes: readonly { readonly path: string; readonly action: string; readonly note?: string }[];
  readonly notes: readonly string[];
  readonly problems: readonly string[];
  readonly restarts: readonly {
    readonly service: string;
    readonly action: string;
    readonly why: string;
    readonly byHand?: string;
  }[];
}

/** A node to examine. */
export interface DoctorRequest {
  readonly root: string;
  readonly config: string;
  readonly canary?: string;
}

/** Lists what was found on a node: the document of `accel agent doctor`. */
export interface Diagnosis {
  readonly formatVersion: number;
  readonly ok: boolean;
  readonly checks: readonly {
    readonly name: string;
    readonly status: 'ok' | 'warning' | 'failed' | 'skipped';
    readonly found: string;
    readonly fix?: string;
  }[];
}

/** An image to find a rule of the conversion service for. */
export interface CheckRequest {
  /** Path of the configuration file. */
  readonly config: string;
  readonly image: string;
}

/** The rule of an image, as the package reports it. */
export interface ImageCheck {
  readonly image: string;
  readonly rule?: { readonly number: number; readonly options: object };
  /** One for each rule up to the one that covers it. */
  readonly verdicts: readonly { readonly rule: number; readonly outcome: string; readonly pattern?: string }[];
}

/** Images that existed before the service, as a command asks for them. */
export interface BackfillRequest {
  /** Path of the configuration file. */
  readonly config: string;
  readonly patterns: readonly string[];
  readonly dryRun: boolean;
  readonly onImage: (image: BackfillImage) => void;
  readonly signal: AbortSignal;
}

/** An image of a backfill: `added`, or the code of the decision that a dry run made. */
export interface BackfillImage {
  readonly image: string;
  readonly rule?: number;
  readonly outcome: string;
  readonly reason?: string;
}

/** The outcome of a backfill. `due`: images that were added, or would be converted. */
export interface BackfillReport {
  readonly repositories: number;
  readonly images: number;
  readonly due: number;
  readonly problems: readonly string[];
}

/** A run of prune, as a command asks for it. */
export interface PruneRequest {
  /** Path of the configuration file. */
  readonly config: string;
  readonly dryRun: boolean;
  readonly onReport: (report: PruneReport) => void;
  readonly signal: AbortSignal;
}

/** The outcome of a run of prune. */
export interface PruneRunReport {
  readonly tags: number;
  readonly removed: number;
  readonly problems: readonly string[];
}

/** The exports of the package. */
export interface ServerPackage {
  readonly version: string;
  run(
    request: ServerRequest,
    surroundings: {
      readonly stderr: Output;
      readonly signals: Pick<SignalSource, 'on' | 'off'>;
      readonly onServing?: () => void;
    },
  ): Promise<void>;
  writeCertificates(request: CertificatesRequest): Promise<readonly string[]>;
  changeNode(request: NodeCommand): Promise<NodeReport>;
  examineNode(request: DoctorRequest): Promise<Diagnosis>;
  checkImage(request: CheckRequest): Promise<ImageCheck>;
  backfill(request: BackfillRequest): Promise<BackfillReport>;
  prune(request: PruneRequest): Promise<PruneRunReport>;
}

/** Access to the package, for the commands. */
export interface ServerAccess {
  /** Fails with `usage` where the package is not installed or Node is too old for it; `command` is who needs it. */
  assertUsable(command: string): void;
  /** Loads the package and runs a role until a signal ends it. */
  run(command: string, request: ServerRequest): Promise<void>;
  /** Makes certificates for agents: the paths of the files that were written. */
  writeCertificates(command: string, request: CertificatesRequest): Promise<readonly string[]>;
  /** Sets up or cleans up the runtimes of a node. */
  changeNode(command: string, request: NodeCommand): Promise<NodeReport>;
  /** Examines a node and its agent. */
  examineNode(command: string, request: DoctorRequest): Promise<Diagnosis>;
  /** Finds the rule of the conversion service that covers an image. */
  checkImage(command: string, request: CheckRequest): Promise<ImageCheck>;
  /** Finds images that existed before the service, and lets it convert them. */
  backfill(command: string, request: BackfillRequest): Promise<BackfillReport>;
  /** Removes accelerated tags that nobody needs. */
  prune(command: string, request: PruneRequest): Promise<PruneRunReport>;
}

/** Where the package is looked for, and what runs it. */
export interface ServerSurroundings {
  /** The version of the running Node, without a leading v. */
  readonly node: string;
  /** The URL of this program, which says whether it is installed for all projects; undefined in a standalone executable. */
  readonly program?: string;
  /** The URL of a package; throws where it is not installed. */
  readonly resolve: (name: string) => string;
  readonly load: (name: string) => Promise<unknown>;
  readonly stderr: Output;
  readonly signals: Pick<SignalSource, 'on' | 'off'>;
  /** Leaves the handling of signals to the server. */
  readonly releaseSignals: () => void;
}

/** The access of a program to the package. */
export function createServerAccess(surroundings: ServerSurroundings): ServerAccess {
  const { node, program, stderr, signals } = surroundings;
  const isOld = Number.parseInt(node, 10) < OLDEST_NODE;
  const required = { expected: `Node ${OLDEST_NODE} or newer`, found: `Node ${node}` };
  const install = `npm install ${isGlobal(program ?? '') ? '--global ' : ''}${SERVER_PACKAGE}@${VERSION}`;
  const notInstalled = (command: string, cause: unknown): AccelError =>
    program === undefined
      ? notInside(command)
      : new AccelError('usage', `${command} is in the package ${SERVER_PACKAGE}, which is not installed`, {
          ...(isOld ? required : {}),
          hint: install,
          cause,
        });

  const assertUsable = (command: string): void => {
    try {
      surroundings.resolve(SERVER_PACKAGE);
    } catch (cause) {
      throw notInstalled(command, cause);
    }
    if (isOld) {
      throw new AccelError('usage', `${command} needs Node ${OLDEST_NODE} or newer`, {
        ...required,
        hint: `Run accel with Node ${OLDEST_NODE} or newer; all other commands run with this one.`,
      });
    }
  };
  const load = async (command: string): Promise<ServerPackage> => {
    assertUsable(command);
    const server = (await surroundings.load(SERVER_PACKAGE).catch((cause: unknown) => {
      throw (cause as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND' ? notInstalled(command, cause) : cause;
    })) as ServerPackage;
    if (server.version !== VERSION) {
      throw new AccelError('usage', `${SERVER_PACKAGE} has another version than accel`, {
        expected: VERSION,
        found: server.version,
        hint: install,
      });
    }
    return server;
  };
  const call = async <T>(command: string, work: (server: ServerPackage) => Promise<T>): Promise<T> => {
    const server = await load(command);
    return work(server).catch((error: unknown) => {
      throw ownError(error);
    });
  };
  return {
    assertUsable,
    run: async (command, request) => {
      const onServing = keepNewSpaceSmall();
      const server = await load(command);
      surroundings.releaseSignals();
      await server.run(request, { stderr, signals, onServing }).catch((error: unknown) => {
        throw ownError(error);
      });
    },
    writeCertificates: (command, request) => call(command, (server) => server.writeCertificates(request)),
    changeNode: (command, request) => call(command, (server) => server.changeNode(request)),
    examineNode: (command, request) => call(command, (server) => server.examineNode(request)),
    checkImage: (command, request) => call(command, (server) => server.checkImage(request)),
    backfill: (command, request) => call(command, (server) => server.backfill(request)),
    prune: (command, request) => call(command, (server) => server.prune(request)),
  };
}

/** The refusal of a standalone executable (docs/decisions/0025). */
function notInside(command: string): AccelError {
  return new AccelError('usage', `${command} is not in the standalone executable`, {
    expected: `the container image accel:${VERSION}, or the npm packages accel-image and ${SERVER_PACKAGE}`,
    found: 'the standalone executable, which has the commands that convert and read images',
    hint: `Run the container image, or with Node ${OLDEST_NODE}: npm install --global accel-image@${VERSION} ${SERVER_PACKAGE}@${VERSION}`,
  });
}

/** Whether npm installed a program for all projects: PREFIX/lib/node_modules, on Windows PREFIX\npm\node_modules. */
function isGlobal(program: string): boolean {
  return /\/(lib|npm)\/node_modules\/accel-image\//.test(program);
}

/** An error of the package as this program knows errors: the package brings its own copy of the class. */
function ownError(error: unknown): unknown {
  if (error instanceof AccelError || !(error instanceof Error) || error.name !== 'AccelError') return error;
  const { code, message, details } = error as Error & { code: AccelErrorCode; details: AccelErrorDetails };
  return new AccelError(code, message, details);
}
