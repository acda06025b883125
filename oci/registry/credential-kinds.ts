/** The kinds of credentials that a registry accepts. */

/** Proof of an account: a user and password, an identity (refresh) token, or a ready bearer token. */
export type Credentials =
  | { readonly kind: 'basic'; readonly username: string; readonly password: string }
  | { readonly kind: 'identity'; readonly token: string }
  | { readonly kind: 'bearer'; readonly token: string };

/** Credentials, and what messages say about them. */
export type FoundCredentials = Credentials & {
  /** The user, where one is known. */
  readonly username?: string;
  /** The source: a flag, a variable, a file, a helper. */
  readonly from: string;
};
