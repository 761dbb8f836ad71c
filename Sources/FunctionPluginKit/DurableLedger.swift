import LinuxDevices
import Services
import Synchronization

/// The ledger together with its file: what it shows is on disk.
final class DurableLedger: Sendable {
  private let thread = BlockingThread(name: "iov-ledger")
  private let published: Mutex<TokenLedger>
  /// Touched on `thread` only; the mutex is for the compiler.
  private let file: Mutex<LedgerFile>

  /// Blocks: for a process's start.
  init(directory: String) throws {
    let (file, ledger) = try LedgerFile.open(in: directory)
    published = Mutex(ledger)
    self.file = Mutex(file)
  }

  func admit(_ request: FunctionRequest, verb: String) async throws {
    try await record { ledger throws(LedgerError) in try ledger.admit(request, verb: verb) }
  }

  func release(_ request: FunctionRequest, verb: String) async throws {
    try await record { ledger throws(LedgerError) in try ledger.release(request, verb: verb) }
  }

  func forget(_ function: String) async throws {
    try await record { ledger throws(LedgerError) in ledger.forget(function) }
  }

  func takeControl(_ endNode: String, token: UInt64) async throws {
    try await record { ledger throws(LedgerError) in try ledger.takeControl(endNode, token: token) }
  }

  func setFunctionCount(_ endNode: String, _ count: UInt32?, token: UInt64) async throws {
    try await record { ledger throws(LedgerError) in try ledger.setFunctionCount(endNode, count, token: token) }
  }

  /// May it be taken under this token? Changes nothing.
  func checkControl(_ endNode: String, token: UInt64) throws {
    _ = try published.withLock { ledger throws(LedgerError) in try ledger.takeControl(endNode, token: token) }
  }

  func yieldControl(_ endNode: String, token: UInt64) async throws {
    try await record { ledger throws(LedgerError) in try ledger.yieldControl(endNode, token: token) }
  }

  func highestToken(of endNode: String) -> UInt64 { published.withLock { $0.highestToken(of: endNode) } }

  func controlToken(of endNode: String) -> UInt64 { published.withLock { $0.endNodes[endNode]?.control ?? 0 } }

  func functionCount(of endNode: String) -> UInt32? { published.withLock { $0.endNodes[endNode]?.functionCount } }

  func knownFunction(_ id: String) -> FunctionRequest? { published.withLock { $0.functions[id]?.request } }

  /// The highest token under which a function was taken down or fenced.
  func released(_ id: String) -> UInt64? { published.withLock { $0.functions[id]?.released } }

  var knownFunctions: [FunctionRequest] {
    published.withLock { ledger in
      ledger.functions.sorted { $0.key < $1.key }.compactMap(\.value.request)
    }
  }

  private func record(
    _ decide: @escaping @Sendable (TokenLedger) throws(LedgerError) -> TokenLedger.Change?
  ) async throws {
    // Most requests change nothing, and then there is no need to go to the thread that writes.
    guard try published.withLock({ try decide($0) }) != nil else { return }
    try await thread.run { [self] in
      // Decided again: another function's record may have come in between, and the thread is the only writer.
      let ledger = published.withLock { $0 }
      guard let change = try decide(ledger) else { return }
      try file.withLock { try $0.append(change, after: ledger) }
      published.withLock { $0.apply(change) }
    }
  }
}
