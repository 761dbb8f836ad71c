import FunctionPluginKit
import LinuxDevices
import Services

extension BlockPlugin {
  public func observe() async throws -> [FunctionStatus] {
    try await BlockingThread.detached { [self] in
      let known = context.knownFunctions
      let extents = try disks.extents()
      // Read again: a function that is made meanwhile is known before it has an extent, one that is destroyed loses its
      // extent before it is forgotten.
      let ids = Set((known + context.knownFunctions).compactMap { $0.assignment?.function })
      return known.map { observeWhatCanBe($0) } + orphans(among: extents, besides: ids)
    }
  }

  /// One function that cannot be asked, because its disk is gone, keeps nobody from knowing of the others. Nothing is known
  /// of it then; above all not that it is absent.
  private func observeWhatCanBe(_ request: FunctionRequest) -> FunctionStatus {
    do {
      return try observe(request)
    } catch {
      var status = FunctionStatus(request, .unspecified)
      status.error = FunctionError {
        $0.step = "observe"
        $0.message = "\(error)"
      }
      return status
    }
  }

  /// The function as it is, whatever it should be.
  func observe(_ request: FunctionRequest) throws -> FunctionStatus {
    let plan = try FunctionPlan(request)
    if request.role == .consumer {
      let disk = networkDisk(plan)
      if disk.isAbsent { return FunctionStatus(request, .absent) }
      return (try? disk.connected()) ?? FunctionStatus(request, .created)
    }
    // Nothing of it is on this host.
    if request.role == .fencer { return FunctionStatus(request, .absent) }
    guard let part = try part(plan) else { return FunctionStatus(request, .absent) }
    if request.role == .server {
      let (daemon, mediation) = (daemon(plan), try plan.mediation())
      // One that is outdated is to be served anew, which `created` asks for.
      guard let port = daemon.recordedPort,
        !daemon.isOutdated(for: mediation.consumerAddress, servingAt: mediation.serverAddress)
      else { return unused(part) }
      return part.served(at: port, daemon.recordedLimits)
    }
    return try local(part).current() ?? unused(part)
  }

  /// Extents that nobody made known to this plugin: its memory was lost, the table was not.
  private func orphans(
    among extents: [(endNode: String, extent: AllocatedExtent)], besides known: Set<String>
  ) -> [FunctionStatus] {
    extents.filter { !known.contains($0.extent.function) }.map { endNode, extent in
      FunctionStatus {
        $0.function = VirtualFunction {
          $0.id = extent.function
          $0.endNode = endNode
          $0.deviceClass = Self.deviceClass
          $0.extent = extent.place
          $0.token = extent.function.split(separator: "/").last.flatMap { UInt64($0) }.map { token in
            FencingToken { $0.value = token }
          }
        }
        $0.phase = .created
      }
    }
  }

  public func statistics(function: String?) async throws -> [FunctionStatistics] {
    try await BlockingThread.detached { [self] in
      try context.knownFunctions
        .filter { function == nil || $0.assignment?.function == function }
        .compactMap { request in
          // A function whose disk is gone has none.
          let isHere = try request.role == .consumer || disks.contains(request.assignment?.endNode ?? "")
          return isHere ? try statistics(request) : nil
        }
    }
  }

  private func statistics(_ request: FunctionRequest) throws -> FunctionStatistics? {
    let plan = try FunctionPlan(request)
    let counters: DiskCounters? =
      switch request.role {
      case .server: (daemon(plan).process?.identity).flatMap { DiskCounters(process: $0) }
      case .consumer: networkDisk(plan).device.flatMap { DiskCounters(device: $0) }
      default: plan.handover.link?.target.flatMap { DiskCounters(device: $0) }
      }
    guard let counters else { return nil }
    return FunctionStatistics {
      $0.function = plan.function
      $0.receivedBytes = counters.readBytes
      $0.transmittedBytes = counters.writtenBytes
      $0.receivedOperations = counters.reads
      $0.transmittedOperations = counters.writes
      $0.errors = counters.errors
    }
  }
}

/// What a disk's user has moved.
private struct DiskCounters {
  var readBytes: UInt64
  var writtenBytes: UInt64
  var reads: UInt64
  var writes: UInt64
  var errors: UInt64 = 0

  /// Documentation/block/stat.rst: reads, merged, sectors of 512 bytes read, ms, writes, merged, sectors written, …
  init?(device path: String) {
    guard let name = BlockDevice.kernelName(path), let text = SmallFile.text("/sys/block/\(name)/stat") else {
      return nil
    }
    let fields = text.split(whereSeparator: \.isWhitespace).compactMap { UInt64($0) }
    guard fields.count > 6 else { return nil }
    (reads, readBytes, writes, writtenBytes) = (fields[0], fields[2] &* 512, fields[4], fields[6] &* 512)
  }

  /// Of a storage daemon, which does nothing but serve this one function. QEMU counts nothing for an NBD export
  /// (query-blockstats answers zeroes, 7.2), the kernel does: /proc/PID/io, bytes only.
  init?(process: ProcessIdentity) {
    guard let text = SmallFile.text("/proc/\(process.pid)/io"), process.isAlive else { return nil }
    var values: [Substring: UInt64] = [:]
    for line in text.split(separator: "\n") {
      let words = line.split(separator: " ")
      if words.count == 2 { values[words[0]] = UInt64(words[1]) }
    }
    (reads, readBytes) = (0, values["read_bytes:"] ?? 0)
    (writes, writtenBytes) = (0, values["write_bytes:"] ?? 0)
  }
}
