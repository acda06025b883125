/**
 * The contract of what an agent gets from the room of Kubernetes, which main.ts hands over: the agent knows members and certificates, not
 * where they come from.
 */
import type { MemberSource } from './peers/peers.ts';

/** Members to follow. */
export interface MemberSettings {
  /** Way to the API; the pod's service account unless given. */
  readonly kubeconfig: string | undefined;
  readonly namespace: string | undefined;
  readonly service: string;
  /** Port of the agents where the cluster does not name it. */
  readonly port: number;
  /** This agent's `ip:port`. */
  readonly self: string;
  readonly log: (line: string) => void;
}

/** A certificate as it was issued, in PEM. */
export interface IssuedCertificate {
  readonly cert: string;
  /** Authorities to trust, one after another. */
  readonly ca: string;
}

/** Gives certificates for requests. */
export interface CertificateIssuer {
  /** For messages and the log. */
  readonly name: string;
  /**
   * Issues a certificate for a request (PKCS #10, PEM); waits for as long as nobody says yes or no. Rejects when it is refused, or with the
   * signal's reason.
   */
  issue(request: string, signal: AbortSignal): Promise<IssuedCertificate>;
  /** Ends its connections. */
  close(): Promise<void>;
}

/** Certificates to ask for. */
export interface IssuerSettings {
  readonly kubeconfig: string | undefined;
  /** Name of the signer, `DOMAIN/NAME`. */
  readonly signer: string;
  readonly log: (line: string) => void;
}

/** The parts. */
export interface ClusterParts {
  /** Follows the members. Throws `usage` where there is no way to the API. */
  members(settings: MemberSettings): Promise<MemberSource>;
  /** Opens a way to certificates. Throws `usage` where there is no way to the API. */
  certificates(settings: IssuerSettings): Promise<CertificateIssuer>;
}
