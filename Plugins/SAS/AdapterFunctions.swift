import BlockFunctions
import FunctionPluginKit
import LinuxDevices
import Services

/// Virtual functions of adapters, each in the hands of who drives it. What disks such a function reaches is set up by the
/// adapter's own means. Its methods block.
struct AdapterFunctions: Sendable {
  private let selections: [AdapterSelection]
  private let hostName: String
  private let sysfs: Sysfs
  private let binding: DriverBinding
  private let notes: AdapterNotes
  private let counts: FunctionCountKeeper
  private let orderedFunctions: @Sendable (_ endNode: String) -> UInt32?

  /// - Parameter orderedFunctions: how many functions an adapter is to make, as an operator said; nil: as the configuration
  ///   says.
  init(
    _ selections: [AdapterSelection], hostName: String, stateDirectory: String, sysfs: Sysfs = Sysfs(),
    orderedFunctions: @escaping @Sendable (_ endNode: String) -> UInt32? = { _ in nil }
  ) {
    self.selections = selections
    self.hostName = hostName
    self.sysfs = sysfs
    binding = DriverBinding(sysfs)
    notes = AdapterNotes(stateDirectory: stateDirectory)
    counts = FunctionCountKeeper(sysfs)
    self.orderedFunctions = orderedFunctions
  }

  static func owns(_ request: FunctionRequest) -> Bool {
    request.assignment?.endNode.hasPrefix(Adapter.prefix) == true
  }

  func rescan() throws {
    counts.forget()
    try settleCounts()
  }

  /// As many functions as are wanted, where nobody loses one by it.
  func settleCounts() throws {
    let adapters = try adapters()
    counts.keep(Set(adapters.map(\.address)))
    for adapter in adapters {
      guard let wanted = adapter.wantedFunctions else {
        if !adapter.isTwoEndNodes { counts.leave(adapter.address) }
        continue
      }
      counts.settle(
        adapter.address, adapter.capability, wanted: wanted, holders: try holders(of: adapter),
        // This host has no use for them, and a driver would show their disks here.
        prepare: { try SRIOVControl(sysfs).setDriversAutoprobe(false, of: adapter.address) })
    }
  }

  func endNodes() throws -> [EndNode] {
    let notes = try notes.all
    return try adapters().map { adapter in
      let holders = try holders(of: adapter)
      return adapter.endNode(
        host: hostName, holders: holders, ours: notes.count { $0.endNode == adapter.endNode },
        standing: counts.standing(
          of: adapter.address, wanted: adapter.wantedFunctions, present: adapter.capability.count, holders: holders),
        numaNode: sysfs.numaNode(of: adapter.address))
    }
  }

  private func adapters() throws -> [Adapter] {
    guard !selections.isEmpty else { return [] }
    let found = sysfs.sasTopology().adapters
    var adapters = selections.compactMap { selection -> Adapter? in
      guard let adapter = found.first(where: { $0.addresses.contains(selection.address) }),
        let address = adapter.controller.address, let capability = sysfs.sriovCapability(of: address),
        capability.total > 0
      else { return nil }
      return Adapter(
        selection: selection, found: adapter, address: address, capability: capability,
        orderedFunctions: orderedFunctions(Adapter.endNode(of: selection)))
    }
    for index in adapters.indices {
      adapters[index].isTwoEndNodes = adapters.count { $0.address == adapters[index].address } > 1
    }
    return adapters
  }

  /// By index: functions of ours, and drivers that have one besides.
  private func holders(of adapter: Adapter) throws -> [UInt32: String] {
    var holders: [UInt32: String] = [:]
    for function in adapter.capability.functions {
      if let driver = function.driver { holders[function.index] = "\(driver) on \(function.address)" }
    }
    for note in try notes.all where note.endNode == adapter.endNode { holders[note.index] = note.function }
    return holders
  }

  // MARK: Verbs

  func problems(with request: FunctionRequest) throws -> [String] {
    do {
      _ = try assignment(request)
      if try notes.note(of: request.assignment?.function ?? "") == nil { _ = try freeFunction(request) }
      return []
    } catch let error as PluginError {
      return [error.message]
    }
  }

  func create(_ request: FunctionRequest) throws -> FunctionStatus {
    let assignment = try assignment(request)
    if try notes.note(of: assignment.function) == nil {
      let index = try freeFunction(request)
      try notes.write(AdapterNote(function: assignment.function, endNode: assignment.endNode, index: index))
    }
    return FunctionStatus(request, .created)
  }

  func attach(_ request: FunctionRequest) throws -> FunctionStatus {
    let assignment = try assignment(request)
    guard let address = try address(of: assignment) else {
      throw PluginError(.failedPrecondition, "\(assignment.function) has not been created.")
    }
    try binding.bindToVFIO(address)
    try DrivenFunction(assignment, sysfs).give(address)
    guard let status = try current(request, address) else {
      throw PluginError(.unavailable, "\(address) of \(assignment.function) is not in use when read back.")
    }
    return status
  }

  /// Whoever has it open keeps it, and with it the adapter, until it ends: an adapter cuts nobody off.
  func detach(_ request: FunctionRequest) throws -> FunctionStatus {
    let assignment = request.assignment ?? Assignment()
    guard let address = try address(of: assignment) else { return FunctionStatus(request, .absent) }
    try DrivenFunction(assignment, sysfs).takeAll()
    if let user = sysfs.vfioUser(of: address) {
      throw PluginError(
        .unavailable,
        "process \(user) has \(address) of \(assignment.function) open through VFIO: end it, and the function is free")
    }
    try binding.takeBack(address)
    return FunctionStatus(request, .created)
  }

  func destroy(_ request: FunctionRequest) throws -> FunctionStatus {
    let assignment = request.assignment ?? Assignment()
    if let address = try address(of: assignment), sysfs.driver(of: address) != nil {
      throw PluginError(.failedPrecondition, "\(assignment.function) is still attached as \(address).")
    }
    try notes.remove(assignment.function)
    // The last one may have kept its adapter from the number that is wanted.
    try? settleCounts()
    return FunctionStatus(request, .absent)
  }

  func observe(_ request: FunctionRequest) throws -> FunctionStatus {
    guard let assignment = request.assignment, try notes.note(of: assignment.function) != nil else {
      return FunctionStatus(request, .absent)
    }
    // An adapter that is gone says nothing of its functions.
    guard let address = try address(of: assignment) else { return FunctionStatus(request, .created) }
    return (try? current(request, address)) ?? FunctionStatus(request, .created)
  }

  // MARK: Parts

  private func current(_ request: FunctionRequest, _ address: PCIAddress) throws -> FunctionStatus? {
    guard let driver = sysfs.driver(of: address), DriverBinding.isVFIO(driver),
      let arrival = try DrivenFunction(request.assignment ?? Assignment(), sysfs).arrival(of: address)
    else { return nil }
    var status = FunctionStatus(request, .inUse)
    status.arrival = arrival
    return status
  }

  private func assignment(_ request: FunctionRequest) throws(PluginError) -> Assignment {
    guard let assignment = request.assignment, request.role == .direct, assignment.consumer?.drivesItself == true else {
      throw PluginError(
        .invalidArgument,
        "A virtual function of an adapter is for a virtual machine or a program that drives it, on the adapter's own host."
      )
    }
    return assignment
  }

  /// Nil: the function has none, or the adapter is gone.
  private func address(of assignment: Assignment) throws -> PCIAddress? {
    guard let note = try notes.note(of: assignment.function) else { return nil }
    guard let adapter = try adapters().first(where: { $0.endNode == note.endNode }) else {
      throw PluginError(
        .unavailable, "\(note.endNode) is not there: bring the adapter back, or its entry in the configuration.")
    }
    guard let function = adapter.capability.functions.first(where: { $0.index == note.index }) else {
      throw PluginError(.unavailable, "\(note.endNode) (\(adapter.address)) has no virtual function \(note.index) now.")
    }
    return function.address
  }

  private func freeFunction(_ request: FunctionRequest) throws -> UInt32 {
    let endNode = request.assignment?.endNode ?? ""
    guard let adapter = try adapters().first(where: { $0.endNode == endNode }) else {
      throw PluginError(.notFound, "No adapter of this host's configuration is \(endNode).")
    }
    let holders = try holders(of: adapter)
    guard let free = adapter.capability.functions.first(where: { holders[$0.index] == nil }) else {
      throw PluginError(
        .resourceExhausted,
        "none of the \(adapter.capability.count) virtual functions of \(endNode) is free: release a claim of one, or set "
          + "virtualFunctions higher, or iov endnode set-functions (\(adapter.capability.total) at most)")
    }
    return free.index
  }
}
