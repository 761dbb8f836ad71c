extension EndNode {
  /// Whether its host has yet to make as many functions of the device's own as an operator has said, and will: somebody who has
  /// one is waited for, a driver that makes fewer is not.
  public var isMakingFunctions: Bool {
    guard let count = physicalFunction?.functionCount, count.settable else { return false }
    guard count.ordered == wantedFunctions else { return true }
    guard let wanted = count.ordered, wanted != count.present else { return false }
    return !count.held.isEmpty || count.message.isEmpty
  }
}
