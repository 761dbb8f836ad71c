import FunctionPluginKit
import LinuxDevices
import Services

/// What a user left on a disk is taken off it before somebody else gets the place; what cannot be cleaned nobody gets.
extension BlockPlugin {
  public func scrub(
    _ request: FunctionRequest, progress: @Sendable (_ done: UInt64, _ total: UInt64) async throws -> Void
  ) async throws -> FunctionStatus {
    guard let part = try await BlockingThread.detached({ try self.partToClean(request) }) else {
      return FunctionStatus(request, .absent)
    }
    guard var scrubber = try await BlockingThread.detached({ try self.scrubber(of: part) }) else {
      return FunctionStatus(request, .created)
    }
    // Whether it ends well or not, there is news.
    defer { changed() }
    while !scrubber.record.isComplete {
      let (begun, from) = (ContinuousClock.now, scrubber.record.doneBytes)
      scrubber = try await BlockingThread.detached { [scrubber] in
        var next = scrubber
        try next.advance()
        return next
      }
      try await progress(scrubber.record.doneBytes, scrubber.record.place.sizeBytes)
      try await Task.sleep(until: begun + scrubber.pace(scrubber.record.doneBytes - from), clock: .continuous)
    }
    var status = FunctionStatus(request, .created)
    status.scrub = scrubber.record.state
    return status
  }

  /// Nil: there is no such function.
  private func partToClean(_ request: FunctionRequest) throws -> FunctionExtent? {
    let plan = try FunctionPlan(request)
    if request.role == .fencer { return try partOfLostHost(plan) }
    try checkUnused(plan)
    guard let part = try part(plan) else { return nil }
    try disks.checkGeometry(of: plan)
    return part
  }

  /// Nil: the operator wants it left as it is.
  private func scrubber(of part: FunctionExtent) throws -> ExtentScrubber? {
    let method = try disks.scrubMethod(of: part.plan)
    guard method != .none else {
      try disks.scrubs.remove(part.plan.function)
      return nil
    }
    let scrubber = ExtentScrubber(
      part, by: method, bytesPerSecond: try disks.scrubBytesPerSecond(of: part.plan.endNode), journal: disks.scrubs
    ) { [disks] in try disks.sanitize($0) }
    try scrubber.begin()
    return scrubber
  }

  /// Before its place is given on. What another root has cleaned is that root's to answer for.
  func checkClean(_ plan: FunctionPlan) throws {
    guard !plan.request.fenced, disks.scrubs.isUnfinished(plan.function),
      try disks.scrubMethod(of: plan) != .none
    else { return }
    let record = disks.scrubs.record(of: plan.function)
    throw PluginError(
      .failedPrecondition,
      "\(plan.function) has not been cleaned (\(record?.doneBytes ?? 0) of \(record?.place.sizeBytes ?? 0) bytes)"
        + (record?.failure.map { ": \($0)" } ?? "")
        + ": clean it first, or give its data up by name (acceptUnscrubbed).")
  }

  /// The status of a function that nobody uses, with how far it is cleaned.
  func unused(_ part: FunctionExtent) -> FunctionStatus {
    var status = part.status(.created)
    status.scrub = disks.scrubs.record(of: part.plan.function)?.state
    return status
  }
}
