import Arbitration
import Messages

/// Where a claim would fit, as the devices see it. Told without the arbiter's own search, whose mistakes it is to find:
/// all hosts are connected, and whatever is there is told of by those who have it.
extension Storm {
  func roomFor(_ specification: ClaimSpecification) -> String? {
    // What is served from a claim goes by another way, and a MAC address may be another function's.
    guard specification.source.isEmpty, specification.attributes?.ethernet?.macAddress == nil else { return nil }
    guard hosts(meantBy: specification).contains(where: { !isCordoned(host: $0) }) else { return nil }
    for name in Self.hostNames where !isCordoned(host: name) {
      for node in hosts[name]?.endNodes ?? [] where node.deviceClass == specification.deviceClass {
        if hasRoom(node, for: specification) { return node.id }
      }
    }
    return nil
  }

  /// The same, for a function of a host's own end nodes.
  func roomBeside(_ specification: ClaimSpecification, on name: String) -> String? {
    guard !isCordoned(host: name) else { return nil }
    return hosts[name]?.endNodes.first {
      $0.deviceClass == specification.deviceClass && hasRoom($0, for: specification)
    }?.id
  }

  private func hasRoom(_ node: EndNode, for specification: ClaimSpecification) -> Bool {
    guard serves(node, specification), !isCordoned(node) else { return false }
    let present = hosts.values.flatMap { host in
      host.functions.values.filter { $0.role != .consumer && $0.assignment.endNode == node.id }
    }
    guard isSelected(node, present, by: specification), isNear(node, specification),
      servesHost(of: specification, node, present)
    else { return false }
    if let limit = node.capacity?.functions, limit > 0 {
      let promised = present.reduce(specification.attributes?.ethernet?.minTransmitBitsPerSecond ?? 0) {
        $0 + $1.promisedBitsPerSecond
      }
      let queues = present.reduce(specification.attributes?.ethernet?.queues ?? 0) { $0 + $1.queues }
      let most = node.capacity?.queues ?? 0
      return present.count < Int(limit) && promised <= node.capacity?.bitsPerSecond ?? 0
        && (most == 0 || queues <= most)
    }
    let asked = specification.attributes?.block
    let operations = present.reduce(0) { $0 + ($1.assignment.attributes?.block?.minOperationsPerSecond ?? 0) }
    let isFastEnough = operations + (asked?.minOperationsPerSecond ?? 0) <= node.capacity?.operationsPerSecond ?? 0
    guard let total = node.capacity?.sizeBytes, isFastEnough else { return false }
    guard let size = asked?.sizeBytes, size < total else {
      return present.isEmpty && isReachableAsAWhole(node, specification)
    }
    return size <= largestGap(of: node, total, among: present)
  }

  /// However many functions a host has.
  private func servesHost(
    of specification: ClaimSpecification, _ node: EndNode, _ present: [StormHost.Function]
  ) -> Bool {
    guard let limit = node.capacity?.hosts, limit > 0 else { return true }
    let users = Set(present.map(\.assignment.host))
    return users.count < Int(limit)
      || hosts(meantBy: specification).contains { !isCordoned(host: $0) && users.contains($0) }
  }

  /// Cards alone are asked for by where they are.
  private func isNear(_ node: EndNode, _ specification: ClaimSpecification) -> Bool {
    guard specification.locality?.within == .rack else { return true }
    let owner = Self.hostNames.first { name in hosts[name]?.endNodes.contains { $0.id == node.id } ?? false }
    let rack = owner.flatMap { hosts[$0]?.labels["rack"] }
    return hosts(meantBy: specification).contains { name in
      !isCordoned(host: name) && (name == owner || (rack != nil && hosts[name]?.labels["rack"] == rack))
    }
  }

  /// What a file server is to have, only some disks give.
  private func serves(_ node: EndNode, _ specification: ClaimSpecification) -> Bool {
    guard case .fileServer = specification.consumer?.kind else { return true }
    return node.capabilities?.consumers.contains("file_server") ?? false
  }

  /// A disk that several hosts see is given as a whole to one of them, or as a part.
  private func isReachableAsAWhole(_ node: EndNode, _ specification: ClaimSpecification) -> Bool {
    guard node.id == sharedID else { return true }
    return hosts(meantBy: specification).contains { name in
      !isCordoned(host: name) && hosts[name]?.endNodes.contains { $0.id == sharedID } ?? false
    }
  }

  private func largestGap(of node: EndNode, _ total: UInt64, among present: [StormHost.Function]) -> UInt64 {
    let taken = present.compactMap { function in hosts.values.compactMap { $0.extents[function.id] }.first }
    // Of disks that one host has, the storm remembers no places: any free bytes are one piece.
    guard taken.count == present.count else {
      let used = present.reduce(0) { $0 + $1.assignment.sizeBytes }
      return total - min(total, used)
    }
    var (largest, end) = (UInt64(0), UInt64(0))
    for extent in taken.sorted(by: { $0.offsetBytes < $1.offsetBytes }) {
      if extent.offsetBytes > end { largest = max(largest, extent.offsetBytes - end) }
      end = max(end, extent.offsetBytes + extent.sizeBytes)
    }
    return max(largest, total - min(total, end))
  }
}
