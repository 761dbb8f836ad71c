import Services

/// Compares what the extent table says with whoever else knows: what this host has open now, and what the coordinator said
/// last.
struct GeometryCheck: Sendable {
  /// Nil: the disk has no table, and so no functions.
  let map: ExtentMap?

  /// What does not agree, in words; none of it can be put right without knowing which side is.
  func disagreements(uses: [DiskUse], told: [FunctionRequest]) -> [String] {
    uses.compactMap(disagreement) + told.compactMap(disagreement)
  }

  private func disagreement(_ use: DiskUse) -> String? {
    if map?.extents.contains(where: { $0.place == use.place }) == true { return nil }
    let found = map?.overlapping(use.place).map { "that is \(words($0))" } ?? "that is nobody's"
    return "\(use.user) has \(words(use.place)), and by the table \(found)"
  }

  private func disagreement(_ request: FunctionRequest) -> String? {
    guard request.role == .direct || request.role == .server, let assignment = request.assignment,
      let place = assignment.extent
    else { return nil }
    let other = map?.extents.first { extent in
      extent.function == assignment.function ? extent.place != place : extent.overlaps(place)
    }
    return other.map {
      "the coordinator knows \(assignment.function) at \(words(place)), and by the table that is \(words($0))"
    }
  }

  private func words(_ place: Extent) -> String { "\(place.sizeBytes) bytes from \(place.offsetBytes) on" }

  private func words(_ extent: AllocatedExtent) -> String { "\(extent.function) (\(words(extent.place)))" }
}
