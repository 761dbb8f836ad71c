import Foundation
import GRDB

/// Why a store cannot be used, in words for the operator.
public struct StoreError: Error, Sendable, Hashable, CustomStringConvertible {
  public enum Reason: Sendable, Hashable {
    /// There is no way to the file, or no right to it.
    case unreachable
    case readOnly
    /// Another coordinator has it open.
    case inUse
    /// A store that cannot be read any more, or is gone.
    case damaged
    /// A store of another cluster.
    case otherCluster
    /// No store, and never was one.
    case foreign
    /// A later version of iovmesh wrote it.
    case newerSchema
    /// No space is left for what was asked, which is not stored.
    case full
    /// The disk refused; what was asked is not stored.
    case failed
    case closed
  }

  public var reason: Reason
  public var description: String

  public init(_ reason: Reason, _ description: String) {
    self.reason = reason
    self.description = description
  }
}

extension StoreError {
  /// What to do about a store that cannot be used any more.
  public static let wayBack =
    "go back to the newest backup with iov-coordinator --config FILE --restore BACKUP, which keeps the damaged file "
    + "beside it; agents keep what is in use meanwhile"
  static let writableAgain =
    "make it writable again (a file system that turns read-only by itself has seen errors: dmesg), then start again; what "
    + "was acknowledged is stored"

  static func damaged(_ files: StoreFiles, _ how: String) -> StoreError {
    StoreError(.damaged, "the \(files.name) is damaged: \(how); \(files.isCandidate ? "take another one" : wayBack)")
  }

  init(opening files: StoreFiles, _ error: any Error) { self.init(files, error, doing: "open") }

  init(using files: StoreFiles, _ error: any Error) { self.init(files, error, doing: "use") }

  private init(_ files: StoreFiles, _ error: any Error, doing: String) {
    if let error = error as? StoreError {
      self = error
      return
    }
    let code = (error as? DatabaseError)?.resultCode
    let words = (error as? DatabaseError).map { $0.message ?? "\($0.resultCode)" } ?? "\(error)"
    switch code {
    case .SQLITE_NOTADB?: self = .notADatabase(files, words)
    case .SQLITE_CORRUPT?: self = .damaged(files, words)
    case .SQLITE_READONLY?:
      self.init(.readOnly, "the \(files.name) cannot be written: \(words); \(Self.writableAgain)")
    case .SQLITE_FULL?: self = .full(files, words)
    // SQLite says so of many calls, with a full disk behind some of them.
    case .SQLITE_IOERR? where files.isFull, .SQLITE_CANTOPEN? where files.isFull:
      self = .full(files, words)
    case .SQLITE_CANTOPEN?, .SQLITE_PERM?, .SQLITE_AUTH?:
      self.init(.unreachable, "cannot open the \(files.name): \(words)")
    default:
      self.init(.failed, "cannot \(doing) the \(files.name): \(words)")
    }
  }

  private static func full(_ files: StoreFiles, _ words: String) -> StoreError {
    let free = files.freeBytes.map { "\($0 / 1024) KiB are free" } ?? "how much is free is not known"
    return StoreError(
      .full,
      "no space for the \(files.name) (\(words)): \(free) in \(files.directory). Nothing was acknowledged that is not "
        + "stored: make space there, then start the coordinator again; agents keep what is in use meanwhile")
  }

  /// Nobody can tell a store whose beginning is destroyed from a file that never was one, but for the lock beside it.
  private static func notADatabase(_ files: StoreFiles, _ words: String) -> StoreError {
    guard !files.isCandidate else { return StoreError(.foreign, "the backup is no SQLite database: \(words)") }
    return .damaged(files, "it is no SQLite database (\(words)), unless store.path names another program's file")
  }
}

extension StoreFiles {
  /// Whether what SQLite needs beside its database, an index of the log of 32 KiB, would not fit.
  fileprivate var isFull: Bool { freeBytes.map { $0 < 64 << 10 } ?? false }
}
