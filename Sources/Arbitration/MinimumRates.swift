import Messages

/// What a function may rely on. The sum over an end node is never above what the end node does, so that it is sold once.
struct MinimumRates: Equatable, Sendable {
  /// From the consumer to the network.
  var bitsPerSecond: UInt64 = 0
  /// Of a disk, reads and writes together.
  var operationsPerSecond: UInt64 = 0
  var bytesPerSecond: UInt64 = 0
  /// Of a card, in each direction. No rate, and given out like one.
  var queues: UInt64 = 0

  /// What an agent made up must not overflow the sums.
  mutating func add(_ other: MinimumRates) {
    bitsPerSecond &+= other.bitsPerSecond
    operationsPerSecond &+= other.operationsPerSecond
    bytesPerSecond &+= other.bytesPerSecond
    queues &+= other.queues
  }

  mutating func subtract(_ other: MinimumRates) {
    bitsPerSecond &-= other.bitsPerSecond
    operationsPerSecond &-= other.operationsPerSecond
    bytesPerSecond &-= other.bytesPerSecond
    queues &-= other.queues
  }

  /// Where one of them is not said.
  func completed(by known: MinimumRates) -> MinimumRates {
    var result = self
    if result.bitsPerSecond == 0 { result.bitsPerSecond = known.bitsPerSecond }
    if result.operationsPerSecond == 0 { result.operationsPerSecond = known.operationsPerSecond }
    if result.bytesPerSecond == 0 { result.bytesPerSecond = known.bytesPerSecond }
    if result.queues == 0 { result.queues = known.queues }
    return result
  }
}

/// A minimum that is asked for, beside what the end node does and what of it is promised.
private struct Minimum {
  var unit: String
  var asked: UInt64
  var capacity: UInt64
  var promised: UInt64
  /// Where the plugin is told what the end node does, if somebody has to say it.
  var setting = ""

  var isKnown: Bool { capacity > 0 }
}

extension Arbiter {
  /// What no use of the end node changes. The speed of a card does change, with its link.
  func checkMinima(of node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    let name = node.record.name
    for minimum in minima(of: node, for: specification) {
      guard minimum.isKnown || !node.isBlockDevice || isBestEffort(specification) else {
        throw Drop(
          .capacity,
          "nobody knows how many \(minimum.unit) \(name) does, so no minimum can be promised: say it by "
            + "'\(minimum.setting)' in the configuration of its plugin on \(node.controllingHost), ask for best effort, or for another "
            + "disk"
        )
      }
      guard !minimum.isKnown || minimum.asked <= minimum.capacity else {
        throw Drop(
          .capacity, "a minimum of \(minimum.asked) \(minimum.unit) is above the \(minimum.capacity) of \(name)")
      }
    }
  }

  /// What is left beside the minima that are granted.
  func checkRoomForMinima(in node: EndNodeState, for specification: ClaimSpecification) throws(Drop) {
    for minimum in minima(of: node, for: specification) {
      guard minimum.isKnown else {
        guard !isBestEffort(specification) else { continue }
        throw Drop(
          .rate,
          "a minimum of \(minimum.asked) \(minimum.unit) is asked for, and how many \(node.record.name) does is not known: its link "
            + "may be down")
      }
      let free = minimum.capacity - min(minimum.capacity, minimum.promised)
      guard minimum.asked <= free else {
        throw Drop(
          .rate,
          "a minimum of \(minimum.asked) \(minimum.unit) is asked for, \(free) of \(minimum.capacity) are not promised yet on "
            + node.record.name)
      }
    }
  }

  private func isBestEffort(_ specification: ClaimSpecification) -> Bool {
    let attributes = specification.attributes
    return (attributes?.block?.rateGuarantee ?? attributes?.ethernet?.rateGuarantee) == .bestEffort
  }

  private func minima(of node: EndNodeState, for specification: ClaimSpecification) -> [Minimum] {
    guard let asked = specification.attributes?.minimumRates, asked != MinimumRates() else { return [] }
    let (capacity, promised) = (node.record.capacity ?? Capacity(), node.usedRates)
    var all = [
      Minimum(
        unit: "bit/s", asked: asked.bitsPerSecond, capacity: capacity.bitsPerSecond, promised: promised.bitsPerSecond),
      Minimum(
        unit: "operations per second", asked: asked.operationsPerSecond, capacity: capacity.operationsPerSecond,
        promised: promised.operationsPerSecond, setting: "operationsPerSecond"),
      Minimum(
        unit: "bytes per second", asked: asked.bytesPerSecond, capacity: capacity.bytesPerSecond,
        promised: promised.bytesPerSecond, setting: "bytesPerSecond"),
    ]
    // Most cards give as many as are asked for.
    if capacity.queues > 0 {
      all.append(
        Minimum(unit: "queues", asked: asked.queues, capacity: UInt64(capacity.queues), promised: promised.queues))
    }
    return all.filter { $0.asked > 0 }
  }
}

extension Attributes {
  var minimumRates: MinimumRates {
    MinimumRates(
      bitsPerSecond: ethernet?.minTransmitBitsPerSecond ?? 0,
      operationsPerSecond: block?.minOperationsPerSecond ?? 0, bytesPerSecond: block?.minBytesPerSecond ?? 0,
      queues: UInt64(ethernet?.queues ?? 0))
  }
}
