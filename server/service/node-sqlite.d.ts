/** The part of `node:sqlite` (Node 24) that the queue uses: the types of Node 20, which the command line needs, do not have the module. */
declare module 'node:sqlite' {
  /** A value of SQLite. */
  type SqlValue = string | number | bigint | null | Uint8Array;

  /** A prepared statement. */
  class StatementSync {
    run(...values: SqlValue[]): { readonly changes: number | bigint; readonly lastInsertRowid: number | bigint };
    get(...values: SqlValue[]): Record<string, SqlValue> | undefined;
    all(...values: SqlValue[]): Record<string, SqlValue>[];
  }

  /** An open database. */
  class DatabaseSync {
    constructor(path: string, options?: { readonly open?: boolean; readonly timeout?: number });
    exec(sql: string): void;
    prepare(sql: string): StatementSync;
    close(): void;
    readonly isTransaction: boolean;
  }
}
