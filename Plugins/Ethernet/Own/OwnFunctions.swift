import FunctionPluginKit
import Glibc
import LinuxDevices
import Services

/// Functions that the card itself makes (SR-IOV), used on this host: the device's own driver moves the packets, nothing of
/// ours is on their way.
///
/// One that nobody has is bound to no driver, so that nothing on this host configures it by itself.
extension EthernetFunctions {
  /// Chooses one of the card's functions, and takes it from whatever drove it.
  func createOwn(_ plan: FunctionPlan) throws {
    let card = try ownCard(plan.endNode)
    let function = try chosenFunction(plan, of: card)
    guard try !isInUse(plan, function, of: card) else { return }
    try takeBack(plan, function, of: card)
  }

  func attachOwn(_ plan: FunctionPlan) throws {
    let card = try ownCard(plan.endNode)
    let function = try chosenFunction(plan, of: card)
    if plan.consumer.drivesFunction {
      try attachByVFIO(plan, function, of: card)
    } else {
      try attachInterface(plan, function, of: card)
    }
  }

  /// The answer's function is reachable by nobody: no driver has it, or, while a machine that does not let go still has it,
  /// the card keeps it from everybody.
  func detachOwn(_ plan: FunctionPlan) throws {
    guard let (card, function) = try heldFunction(plan) else { return }
    try takeBack(plan, function, of: card)
  }

  /// First the card cuts it off, whatever its holder does; then it is taken away.
  func fenceOwn(_ plan: FunctionPlan) throws {
    guard let (card, function) = try heldFunction(plan) else { return }
    try? cutOff(function.index, of: card)
    try takeBack(plan, function, of: card)
  }

  /// For the next holder: nothing of the last one's is in it.
  func scrubOwn(_ plan: FunctionPlan) throws {
    guard let (card, function) = try heldFunction(plan) else { return }
    try takeBack(plan, function, of: card)
    guard try freshFunction(function.index, plan.endNode).driver == nil else {
      throw PluginError(
        .unavailable, "\(function.address) is still driven by a machine or program: it has to let go first")
    }
    if sysfs.pciFunction(function.address)?.resetMethods.isEmpty == false {
      try sysfs.reset(function.address)
    }
    try resetSettings(of: function.index, of: card)
  }

  func destroyOwn(_ plan: FunctionPlan) throws {
    try scrubOwn(plan)
    try table.release(plan.names.function)
  }

  func configureOwn(_ plan: FunctionPlan) throws {
    guard let (card, function) = try heldFunction(plan) else {
      throw PluginError(.notFound, "\(plan.names.function) is not on host \(hostName)")
    }
    try applySettings(plan, to: function.index, of: card)
    if let found = try interface(of: function.address) {
      try limitByQueue(plan, found.link, of: card, in: consumerPlace(plan))
    }
  }

  // MARK: Which one

  /// The card's function that the plan's is; nil: none, or it went with a reboot or the card.
  func heldFunction(_ plan: FunctionPlan) throws -> (OwnCard, SRIOVFunction)? {
    guard let entry = table[plan.names.function] else { return nil }
    guard let card = try presentCard(entry.endNode) else {
      try refuseToGuess(plan, entry.endNode)
      return nil
    }
    return card.virtualFunction(entry.index).map { (card, $0) }
  }

  /// That no interface is the card's is no proof that it is gone: the interface may have been put into another namespace,
  /// and the functions are in use all the same.
  private func refuseToGuess(_ plan: FunctionPlan, _ endNode: String) throws {
    let links = try route.links()
    let hidden = sysfs.physicalFunctionAddresses().first { address in
      guard let function = sysfs.pciFunction(address), function.identifiers.isNetworkController else { return false }
      return function.sriov.map { $0.count > 0 } == true && !links.contains { $0.pciAddress == address }
    }
    guard let hidden else { return }
    throw PluginError(
      .unavailable,
      "the interface of \(endNode) is not on host \(hostName), and \(hidden) has functions and no interface here: it may be "
        + "that card. Bring its interface back to the host's own namespace")
  }

  private func chosenFunction(_ plan: FunctionPlan, of card: OwnCard) throws -> SRIOVFunction {
    if let driver = card.capability.functions.lazy.compactMap(\.driver).first(where: { !DriverBinding.isVFIO($0) }) {
      try table.remember(driver: driver, of: card.endNode)
    }
    let holders = holders(of: card)
    let free = card.capability.functions.map(\.index).filter { holders[$0] == nil }
    guard let index = try table.allocate(plan.names.function, of: card.endNode, among: free) else {
      throw PluginError(
        .resourceExhausted,
        "\(card.link.name) has \(card.capability.count) functions of its own and none is free: "
          + holders.sorted { $0.key < $1.key }.map { "\($0.key) has \($0.value)" }.joined(separator: ", "))
    }
    guard let function = card.virtualFunction(index) else {
      throw PluginError(
        .unavailable,
        "\(plan.names.function) is function \(index) of \(card.link.name), which has \(card.capability.count) now: raise its "
          + "count again (virtualFunctions, or iov endnode set-functions), or release the claim")
    }
    return function
  }

  func freshFunction(_ index: UInt32, _ endNode: String) throws -> SRIOVFunction {
    guard let function = try presentCard(endNode)?.virtualFunction(index) else {
      throw PluginError(.unavailable, "virtual function \(index) of \(endNode) went meanwhile")
    }
    return function
  }

  // MARK: By its interface

  private func attachInterface(_ plan: FunctionPlan, _ function: SRIOVFunction, of card: OwnCard) throws {
    let place = try consumerPlace(plan)
    if case .container = plan.consumer {} else { try refuseTakenName(plan, in: place) }
    if try isInUse(plan, function, of: card) { return try applySettings(plan, to: function.index, of: card) }
    // Anew from the beginning: an interface keeps the address that it was made with, and whatever its last user set.
    try takeBack(plan, function, of: card)
    try applySettings(plan, to: function.index, of: card)
    guard let driver = functionDriver(of: card) else {
      throw PluginError(
        .failedPrecondition,
        "no driver of \(card.link.name)'s functions is known: load its module, and switch sriov_drivers_autoprobe of "
          + "\(card.address) on")
    }
    try binding.release(function.address, to: driver)
    let made = try madeInterface(of: function.address, driver)
    try checkMTU(plan, made)
    // The owner first: whatever is cut short from here on is found again.
    try route.change(
      made.index,
      LinkChange {
        $0.alias = plan.names.alias
        $0.isUp = false
      })
    try route.change(
      made.index,
      LinkChange {
        $0.name = plan.names.unused
        $0.mtu = plan.mtu
      })
    if let consumer = place.namespace { try route.change(made.index, LinkChange { $0.namespace = consumer }) }
    guard let link = try place.route.link(named: plan.names.unused) else {
      throw PluginError(.unavailable, "interface \(plan.names.unused) went as soon as it was moved")
    }
    try limitByQueue(plan, link, of: card, in: place)
    var isForContainer = false
    if case .container = plan.consumer { isForContainer = true }
    try place.route.change(
      link.index,
      LinkChange {
        $0.name = plan.placedName
        // A container's runtime switches it on, in its place.
        if !isForContainer { $0.isUp = true }
      })
    try offerToContainers(plan, function)
  }

  /// A driver makes its interface within milliseconds, or, on a card that asks its firmware, within seconds.
  private func madeInterface(of address: PCIAddress, _ driver: String) throws -> Link {
    let deadline = ContinuousClock.now + .seconds(10)
    repeat {
      if let found = try interface(of: address), found.namespaceID == nil { return found.link }
      usleep(10_000)
    } while ContinuousClock.now < deadline
    throw PluginError(
      .unavailable, "driver \(driver) has made no interface for \(address) in 10 s; look at the kernel's log")
  }

  private func checkMTU(_ plan: FunctionPlan, _ link: Link) throws {
    guard let mtu = plan.mtu, link.maximumMTU > 0, !(link.minimumMTU...link.maximumMTU).contains(mtu) else { return }
    throw PluginError(
      .invalidArgument,
      "an MTU of \(mtu) was asked for; functions of this card carry \(link.minimumMTU) to \(link.maximumMTU)")
  }

  /// A limit that the card would take and not keep is kept by the interface's queue, where the consumer could remove it:
  /// only who said that best effort will do gets it so.
  private func limitByQueue(_ plan: FunctionPlan, _ link: Link, of card: OwnCard, in place: Place) throws {
    guard card.quirks.ignoresRate, plan.limitsAreBestEffort else { return }
    if plan.transmitBitsPerSecond > 0 {
      try place.route.limit(
        link.index, to: TokenBucket(rateBitsPerSecond: plan.transmitBitsPerSecond, mtu: plan.mtu ?? link.mtu))
    } else {
      try place.route.deleteQueueingDiscipline(of: link.index, parent: .root)
    }
  }

  // MARK: Taking it back

  /// No driver has it then. A machine or program that does not let go keeps its handle, on a function that the card has cut
  /// off from everybody.
  func takeBack(_ plan: FunctionPlan, _ function: SRIOVFunction, of card: OwnCard) throws {
    let function = try freshFunction(function.index, card.endNode)
    try withdrawFromContainers(plan)
    guard let driver = function.driver else { return }
    guard DriverBinding.isVFIO(driver) else {
      // Its interface goes with the driver, in whatever namespace and under whatever name it is.
      try table.remember(driver: driver, of: card.endNode)
      return try binding.unbind(function.address)
    }
    try unplug(plan, function)
    // The kernel waits for the program before it takes the function away, and so would this thread.
    if let user = sysfs.vfioUser(of: function.address) {
      try cutOff(function.index, of: card)
      throw PluginError(
        .unavailable,
        "\(plan.names.function) is cut off, and process \(user) still has it open through VFIO: end that process, and "
          + "the function is free")
    }
    try binding.release(function.address, to: nil)
  }
}

extension Consumer.Kind {
  /// Whether the consumer drives the function itself, so that the host has no interface of it.
  var drivesFunction: Bool {
    switch self {
    case .virtualMachine, .userSpace: true
    case .container(let container): container.userSpace
    case .host, .networkNamespace, .fileServer: false
    }
  }
}

extension NetlinkError {
  /// The kernel's words alone.
  var reason: String { kernelMessage.flatMap { $0.isEmpty ? nil : $0 } ?? SystemCallError.reason(errno) }
}
