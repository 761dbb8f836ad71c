import ArgumentParser
import Glibc
import LinuxDevices
import Quantities
import Services

struct BackupCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "backup", abstract: "Copy the coordinator's store while it serves.",
    discussion: """
      The file is there under its name when it is whole and on the disk, and only its owner may read it. Keep it apart \
      from the coordinator's machine.
      """)

  @Argument(help: "The file to write, or - for standard output.", completion: .file()) var file: String
  @Flag(help: "Replace a file that is there.") var force = false
  @OptionGroup var connection: ConnectionOptions

  func run() async throws {
    try await withCoordinator(connection) { coordinator in
      do {
        let byteCount = file == "-" ? try await stream(coordinator) : try await write(coordinator)
        printToStandardError(
          "iov: backup of \(roundedByteCount(byteCount)) written" + (file == "-" ? "" : " to \(file)"))
      } catch is BackupFile.Exists {
        throw RPCError(.alreadyExists, "\(file) is there already: choose another name, or replace it with --force")
      } catch let error as SystemCallError {
        throw RPCError(.failedPrecondition, "\(error)")
      }
    }
  }

  private func write(_ coordinator: Coordinator) async throws -> UInt64 {
    let backup = try BackupFile(file, replaces: force)
    try await coordinator.ask {
      try backup.clear()
      for try await chunk in try await coordinator.operations.backup(BackupRequest()) { try backup.append(chunk.data) }
    }
    guard backup.byteCount > 0 else {
      throw RPCError(.dataLoss, "the coordinator sent an empty backup; nothing is kept")
    }
    try backup.putInPlace()
    return backup.byteCount
  }

  /// What has gone out cannot be taken back, so it is not begun again.
  private func stream(_ coordinator: Coordinator) async throws -> UInt64 {
    guard isatty(STDOUT_FILENO) == 0 else {
      throw RPCError(.invalidArgument, "standard output is a terminal: name a file, or send the output into one")
    }
    _ = try await coordinator.ask { try await coordinator.inventory.getCluster(GetClusterRequest(), options: .command) }
    let output = FileDescriptor(owning: try duplicate(STDOUT_FILENO))
    var byteCount: UInt64 = 0
    for try await chunk in try await coordinator.operations.backup(BackupRequest()) {
      try SmallFile.append(chunk.data, to: output, path: "standard output")
      byteCount += UInt64(chunk.data.count)
    }
    guard byteCount > 0 else { throw RPCError(.dataLoss, "the coordinator sent an empty backup") }
    return byteCount
  }
}

struct RestoreCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "restore", abstract: "Put a backup in the place of the coordinator's store.",
    discussion: """
      The coordinator checks the backup, keeps its present store beside it and begins anew. Claims made since the backup \
      are lost; what they hold stays in use, and is listed by `iov orphan list`. Nothing is torn down. Asks for the word \
      restore as confirmation; scripts give --yes.
      """)

  @Argument(help: "The backup's file, or - for standard input.", completion: .file()) var file: String
  @OptionGroup var confirmation: ConfirmationOptions
  @OptionGroup var common: CommonOptions

  private static let chunkByteCount = 256 << 10

  func run() async throws {
    try await withCoordinator(common.connection) { coordinator in
      do {
        let input =
          file == "-"
          ? FileDescriptor(owning: try duplicate(STDIN_FILENO)) : try FileDescriptor(opening: file, O_RDONLY)
        let before = try await coordinator.wholeRack()
        if file == "-", !confirmation.yes {
          throw RPCError(.invalidArgument, "standard input carries the backup, so nobody can be asked: give --yes")
        }
        try confirmation.confirm(
          typing: "restore", before.consequences(ofRestoring: try BackupFacts(input, name: file)))
        let answer = try await send(input, to: coordinator)
        try await waitUntilInPlace(answer, beside: before.coordinator, coordinator)
        common.output.show(answer) { printTable(answer.details) }
        try await report(before, answer, coordinator)
      } catch let error as SystemCallError {
        throw RPCError(.failedPrecondition, "\(error)")
      }
    }
  }

  private func send(_ input: FileDescriptor, to coordinator: Coordinator) async throws -> RestoreResponse {
    let call = try await coordinator.operations.restore()
    // The coordinator may refuse before it has read everything: its answer says why, a write that failed does not.
    let sending = Task {
      do {
        while let chunk = try input.nextBytes(Self.chunkByteCount) {
          try await call.write(BackupChunk { $0.data = chunk })
        }
        call.finishWriting()
      } catch {
        // Half a backup must not be taken for a whole one, nor waited for.
        call.cancel()
        throw error
      }
    }
    defer { sending.cancel() }
    do {
      for try await answer in call.responses { return answer }
    } catch let error as RPCError where error.code == .cancelled {
      try await sending.value
      throw error
    }
    try await sending.value
    throw RPCError(.dataLoss, "the coordinator did not say whether it took the backup: see iov status")
  }

  /// The coordinator answers before it puts the backup in place, for which it ends; the next run says what it began with.
  private func waitUntilInPlace(
    _ answer: RestoreResponse, beside before: CoordinatorStatus?, _ coordinator: Coordinator
  ) async throws {
    let former = answer.formerStorePath
    let isUnknown = "whether the backup is in place is not known: it is if there is \(former)"
    let end = ContinuousClock.now + .seconds(60)
    while true {
      let status: CoordinatorStatus
      do {
        status = try await coordinator.ask {
          try await coordinator.operations.getStatus(GetStatusRequest(), options: .command)
        }
      } catch let error as RPCError {
        throw RPCError(error.code, "\(error.message); \(isUnknown)")
      }
      if status.formerStorePath == former { return }
      guard status.started == before?.started else {
        throw RPCError(
          .aborted,
          "the coordinator began anew with the store that it had: the backup is not in place, and the coordinator's log "
            + "says why")
      }
      guard ContinuousClock.now < end else {
        throw RPCError(.deadlineExceeded, "the coordinator has not begun anew for 60 s; \(isUnknown)")
      }
      try await Task.sleep(for: .milliseconds(100))
    }
  }

  /// Which claims are not what they were, once the coordinator serves again.
  private func report(_ before: Rack, _ answer: RestoreResponse, _ coordinator: Coordinator) async throws {
    let lost = before.claims.filter { $0.revision > answer.revision }.map(\.name)
    guard !lost.isEmpty else { return }
    printToStandardError(
      "iov: made or changed since the backup, and now as they were then, or lost: \(lost.sorted().joined(separator: ", "))"
    )
    printToStandardError("iov: once the hosts are back: iov status, and iov orphan list")
  }
}

/// What can be seen of a backup without the coordinator.
private struct BackupFacts {
  let name: String
  var byteCount: UInt64?
  var written: Timestamp?

  init(_ input: FileDescriptor, name: String) throws {
    self.name = name
    var status = stat()
    guard fstat(input.number, &status) == 0 else { return }
    guard status.st_mode & S_IFMT != S_IFDIR else { throw SystemCallError("read \(name)", errno: EISDIR) }
    guard status.st_mode & S_IFMT == S_IFREG else { return }
    guard status.st_size > 0 else { throw RPCError(.invalidArgument, "\(name) is empty: it is no backup") }
    byteCount = UInt64(status.st_size)
    written = Timestamp(seconds: Int64(status.st_mtim.tv_sec))
  }
}

extension Rack {
  fileprivate func consequences(ofRestoring backup: BackupFacts) -> [String] {
    let size = backup.byteCount.map { ", \(roundedByteCount($0))" } ?? ""
    var text = Description()
    text.facts([
      ("Backup", backup.name + size + (backup.written.map { ", written \($0.told(at: now))" } ?? "")),
      ("Present store", "\(coordinator?.storePath ?? ""), \(claims.count) claims, revision \(cluster.revision)"),
      ("Cluster", cluster.id),
    ])
    if let written = backup.written {
      let newer = claims.filter { ($0.created ?? written) > written }.map { claim in
        [claim.name, orDash(claim.usedOn), claim.created?.told(at: now) ?? ""]
      }
      text.section("Claims made since that file was written, which would be lost", ["CLAIM", "HOST", "MADE"], newer)
    }
    text.note("What lost claims hold stays in use on its hosts, without a claim: see iov orphan list then.")
    return text.lines
  }
}

extension RestoreResponse {
  fileprivate var details: [[String]] {
    [
      ["Restored cluster", clusterId], ["Claims", String(claims)], ["Revision", String(revision)],
      ["Former store", formerStorePath],
    ]
  }
}

// MARK: Descriptors

private func duplicate(_ descriptor: CInt) throws(SystemCallError) -> CInt {
  let copy = dup(descriptor)
  guard copy >= 0 else { throw SystemCallError("duplicate descriptor \(descriptor)", errno: errno) }
  return copy
}

extension FileDescriptor {
  /// The next bytes, fewer than asked for where there are not more just now; nil at the end.
  fileprivate func nextBytes(_ limit: Int) throws -> [UInt8]? {
    var count = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, filled in
      repeat { count = read(number, buffer.baseAddress, limit) } while count < 0 && errno == EINTR
      filled = max(0, count)
    }
    guard count >= 0 else { throw SystemCallError("read the backup", errno: errno) }
    return bytes.isEmpty ? nil : bytes
  }
}
