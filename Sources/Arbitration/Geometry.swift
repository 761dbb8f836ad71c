import Messages

/// Where functions lie on their end nodes. The controlling host decides it when it makes one and says so; from then on it is
/// kept here with the assignment, and told with every later word. If the two ever differ, one of them would write over
/// somebody's data: nothing is set up or torn down until a person has looked.
extension Arbiter {
  /// Takes the geometry that the controlling host reports for the first time.
  mutating func takeExtent(of assignment: inout Assignment, in state: inout ClaimState) {
    guard assignment.holdsData, assignment.extent == nil, let entry = state.controlling,
      let extent = reportedExtent(of: entry),
      geometryConflict(of: state) == nil
    else { return }
    assignment.extent = extent
    state.controlling = withExtent(extent, entry)
    state.consumer = state.consumer.map { withExtent(extent, $0) }
    takeShare(of: assignment)
  }

  private mutating func withExtent(_ extent: Extent, _ entry: WantedFunction) -> WantedFunction {
    var entry = entry
    entry.assignment?.extent = extent
    note(&entry)
    return entry
  }

  func reportedExtent(of entry: WantedFunction) -> Extent? {
    guard let status = report(of: entry), status.phase == .created || status.phase == .inUse else { return nil }
    return status.function?.extent
  }

  /// What the controlling host says of where the function lies, if that cannot be.
  func geometryConflict(of state: ClaimState) -> FunctionError? {
    guard let entry = state.controlling, let assignment = state.assignment, let said = reportedExtent(of: entry),
      let problem = problem(with: said, of: assignment)
    else { return nil }
    var error = FunctionError()
    error.host = entry.host
    error.step = "geometry"
    error.code = UInt32(Refusal.Code.failedPrecondition.rawValue)
    error.message =
      "\(entry.host) says that \(assignment.function) lies at \(said.words) of \(assignment.endNode), \(problem); nothing of it is "
      + "touched until the two agree"
    error.permanent = true
    return error
  }

  /// Whoever was in the way may have let go.
  mutating func lookAgainAtGeometry() {
    guard !stoppedByGeometry.isEmpty else { return }
    for name in stoppedByGeometry.sorted() {
      guard let node = claims[name]?.assignment?.endNode else {
        stoppedByGeometry.remove(name)
        continue
      }
      if changes.openings.endNodes.contains(node) { settle(name) }
    }
  }

  private func problem(with said: Extent, of assignment: Assignment) -> String? {
    if let known = assignment.extent {
      return known == said ? nil : "and it was made at \(known.words)"
    }
    guard said.sizeBytes == assignment.sizeBytes else { return "and \(assignment.sizeBytes) bytes were granted" }
    guard let node = endNodes[assignment.endNode] else { return nil }
    let (end, isHuge) = said.offsetBytes.addingReportingOverflow(said.sizeBytes)
    guard !isHuge, end <= node.sizeBytes else { return "which has \(node.sizeBytes) bytes" }
    let others = node.shares.filter { $0.key != assignment.function && $0.value.extent?.overlaps(said) ?? false }
    return others.map(\.key).min().map { "where \($0) lies already" }
  }
}

extension EndNodeState {
  /// The largest part of a disk that nothing lies in; nil while it is not known where everything lies.
  var largestGapBytes: UInt64? {
    let extents = shares.values.compactMap(\.extent).sorted { $0.offsetBytes < $1.offsetBytes }
    guard isBlockDevice, extents.count == shares.count else { return nil }
    var (largest, end): (UInt64, UInt64) = (0, 0)
    for extent in extents where extent.offsetBytes >= end {
      largest = max(largest, extent.offsetBytes - end)
      end = extent.offsetBytes &+ extent.sizeBytes
    }
    return max(largest, sizeBytes - min(sizeBytes, end))
  }
}

extension Extent {
  package func overlaps(_ other: Extent) -> Bool {
    // Only extents that fit on their end node are kept, so the sums are within bounds.
    offsetBytes < other.offsetBytes &+ other.sizeBytes && other.offsetBytes < offsetBytes &+ sizeBytes
  }

  var words: String { "\(offsetBytes)+\(sizeBytes)" }
}
