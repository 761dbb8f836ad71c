import Messages

/// How many functions of its own (SR-IOV) a device makes, where an operator says so.
///
/// When that changes a device makes all of them anew. So it is begun while nobody has one, and nobody gets one until its host says
/// that it has come to an end. Whatever it is told, a plugin destroys no function that somebody holds.
extension Arbiter {
  mutating func setFunctionCount(_ request: SetFunctionCountRequest) throws(Refusal) -> MaintenanceAnswer {
    let node = try shownEndNode(request.endNode)
    let (id, target) = (node.record.id, Maintained.endNode(node.record.id))
    guard request.count != node.record.wantedFunctions else { return answer(target) }
    // What does not apply any more can be taken back.
    if request.count != nil || node.record.physicalFunction?.functionCount?.settable == true {
      let count = try settableCount(of: node)
      if let wanted = request.count, wanted > count.maximum {
        throw Refusal(
          .invalidArgument,
          "\(node.record.name) is asked for \(wanted) functions of its own, and \(count.maximum) are the most that it can make"
        )
      }
      if request.count != count.present { try checkNoOwnFunctions(of: node, when: request.count) }
    }
    endNodes[id]?.record.wantedFunctions = request.count
    changes.save(target.recordKey)
    changes.noteControl(id, of: node.controllingHost)
    noteOpening(of: target)
    return answer(target)
  }

  private func settableCount(of node: EndNodeState) throws(Refusal) -> FunctionCount {
    let name = node.record.name
    guard let count = node.record.physicalFunction?.functionCount else {
      throw Refusal(
        .failedPrecondition, "\(name) makes no functions of its own (SR-IOV), as far as \(node.controllingHost) says")
    }
    guard count.settable else {
      throw Refusal(
        .failedPrecondition,
        "how many functions of its own \(name) makes, the configuration of its plugin on \(node.controllingHost) says alone"
      )
    }
    return count
  }

  private func checkNoOwnFunctions(of node: EndNodeState, when wanted: UInt32?) throws(Refusal) {
    guard node.functionsInUse(on: .direct) > 0 else { return }
    let name = node.record.name
    var (users, others): ([String], [String]) = ([], [])
    // Where a place is kept for somebody, nothing is there yet.
    for (function, share) in node.shares
    where (share.path == .direct || share.path == .unspecified) && !Self.isKept(function) {
      guard let claim = claimOfFunction[function] else {
        others.append(function)
        continue
      }
      if claims[claim].map({ takesOwnFunction($0.specification, of: node) }) ?? true { users.append("'\(claim)'") }
    }
    guard !users.isEmpty || !others.isEmpty else { return }
    let advice =
      users.isEmpty
      ? "See what is left of them: iov orphan list" : "Have them go first: iov endnode drain \(name) --wait"
    throw Refusal(
      .failedPrecondition,
      "\(name) makes all of its functions anew when there are to be \(wanted.map { "\($0)" } ?? "another number") of them, and "
        + "some are in use: \(Names.list(users + others)). \(advice)")
  }

  /// Whether by the path direct it gets one of the functions that the device makes: a disk as a whole is one for those alone that
  /// drive it themselves.
  private func takesOwnFunction(_ specification: ClaimSpecification, of node: EndNodeState) -> Bool {
    !node.isBlockDevice || specification.consumer?.kind?.takesWholeDevice ?? false
  }

  func checkOwnFunctionsAreMade(
    of node: EndNodeState, to host: HostState, for specification: ClaimSpecification
  ) throws(Drop) {
    guard let why = node.whyFunctionsAreToCome, node.record.isRoot(host.record.name),
      takesOwnFunction(specification, of: node)
    else { return }
    throw Drop(.controllingHost, why)
  }
}

extension WithEndNodeRecord {
  /// Why none of the functions that the device itself makes is given now; nil if they may be.
  var whyFunctionsAreToCome: String? {
    guard record.isMakingFunctions, let count = record.physicalFunction?.functionCount else { return nil }
    let wanted = record.wantedFunctions.map { "\($0) functions" } ?? "the functions of its plugin's configuration"
    let holders = count.held.isEmpty ? "" : "; somebody has one still: \(Names.list(count.held))"
    return
      "\(record.name) is to make \(wanted) in place of \(count.present), and \(controllingHost) has not done so yet"
      + holders
  }
}

extension EndNode {
  fileprivate var ownFunctions: UInt32? { physicalFunction?.functionCount?.present }

  /// Whether the device makes all of its functions anew, or has just done so.
  func makesFunctionsAnew(since before: EndNode) -> Bool {
    isMakingFunctions || before.isMakingFunctions || ownFunctions != before.ownFunctions
  }
}
