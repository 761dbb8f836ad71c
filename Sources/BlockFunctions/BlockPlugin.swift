import FunctionPluginKit
import LinuxDevices
import Services
import Synchronization

/// The plugin of a class of disks. Each function is an extent, or the whole disk:
///
/// ```swift
/// await PluginMain<BlockPlugin<MyDisks>>.run()
/// ```
public final class BlockPlugin<Class: DiskClass>: FunctionPlugin {
  public static var name: String { Class.name }
  public static var deviceClass: String { Class.name }
  public static var version: String { iovmeshVersion }
  public static var configurationSchema: String { BlockConfiguration<Class>.schema() }

  static var capabilities: Capabilities {
    Capabilities {
      $0.paths = [.directSoftware, .mediated]
      $0.mediators = ["nbd"]
      $0.consumers = ["host", "container", "virtual_machine", "file_server"]
      $0.attributes =
        ["block.size_bytes", "block.read_only"] + DiskLimits.attributes + DiskLimits.promises
      $0.blockSizeBytes = UInt32(FunctionPlan.blockSizeBytes)
    }
  }

  /// Disks that are plugged, and devices that somebody else detaches, announce themselves to no one here.
  private static var lookInterval: Duration { .seconds(5) }

  let context: PluginContext
  let disks: Disks<Class>
  private let watchers = Watchers()
  private let lives: LifeWatch

  public init(configuration: BlockConfiguration<Class>, context: PluginContext) async throws {
    self.context = context
    let disks = try Disks<Class>(configuration: configuration, context: context)
    self.disks = disks
    lives = LifeWatch { [watchers] in watchers.changed() }
    disks.lookForServed { [weak self] function in self?.servedDisks(function) ?? [] }
    try await BlockingThread.detached {
      try disks.checkAll(context.logger)
      // Also after a reboot, which takes a drive's functions away.
      try disks.settleFunctions()
      for request in context.knownFunctions { self.watchLife(of: request) }
    }
  }

  public func describe() -> PluginOffer {
    PluginOffer(
      mediatorsOffered: ChildProcess.path(of: StorageDaemon.program) == nil ? [] : ["nbd"],
      mediatorsAccepted: canConnect ? ["nbd"] : [],
      capabilities: Self.capabilities)
  }

  private var canConnect: Bool {
    let isSecured = context.tls != nil
    return KernelClient.isPossible(secured: isSecured) || FileClient.isPossible(secured: isSecured)
  }

  public func discover() async throws -> [EndNode] {
    try await BlockingThread.detached { [disks] in try disks.endNodes() }
  }

  public func rescan() async throws {
    try await BlockingThread.detached { [disks] in try disks.rescan() }
  }

  public func watch() -> AsyncStream<Void> {
    let (stream, key) = watchers.add()
    let ticker = Task { [weak self] in
      var last: Sight?
      while !Task.isCancelled {
        let now = try? await self?.look()
        if let last, now != last { self?.watchers.changed() }
        last = now
        try await Task.sleep(for: Self.lookInterval)
      }
    }
    watchers.onEnd(of: key) { ticker.cancel() }
    return stream
  }

  /// What an agent should look at again when it differs.
  private struct Sight: Equatable {
    var endNodes: [EndNode]
    var functions: [FunctionStatus]
  }

  private func look() async throws -> Sight {
    // A drive that was plugged in again has none of its functions.
    try await BlockingThread.detached { [disks] in try disks.settleFunctions() }
    return Sight(endNodes: try await discover(), functions: try await observe())
  }

  public func settleFunctionCount(of endNode: String) async throws {
    try await BlockingThread.detached { [disks] in try disks.settleFunctions() }
  }

  public func validate(_ request: FunctionRequest) async throws -> [String] {
    let plan: FunctionPlan
    do {
      plan = try FunctionPlan(request)
      if request.role != .direct { _ = try plan.mediation() }
    } catch {
      return ["\(error)"]
    }
    if request.role == .consumer { return [] }
    return try await BlockingThread.detached { [disks] in try disks.problems(with: plan) }
  }

  public func create(_ request: FunctionRequest) async throws -> FunctionStatus {
    defer { watchers.changed() }
    return try await perform(request) { plan in
      if !plan.isWhole { try self.keepParts(of: plan.endNode) }
      let extent = try self.disks.allocate(plan)
      return FunctionExtent(plan: plan, disk: try self.disks.description(of: plan.endNode), extent: extent)
        .status(.created)
    }
  }

  public func destroy(_ request: FunctionRequest) async throws -> FunctionStatus {
    defer { watchers.changed() }
    return try await perform(request) { plan in
      if request.role == .fencer { return try self.letGoOfLostHost(plan) }
      if plan.isServed, try self.isOfNothing(plan) || (request.fenced && !self.disks.contains(plan.endNode)) {
        return try self.destroyWithoutDevice(plan)
      }
      try self.checkUnused(plan)
      try self.checkClean(plan)
      try self.disks.release(plan)
      try self.letGoOfUnusedDisk(plan)
      // The last one may have kept its drive from the number that is wanted.
      if plan.isWhole { try? self.disks.settleFunctions() }
      try self.forgetParts(of: plan)
      return FunctionStatus(request, .absent)
    }
  }

  public func attach(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request) { plan in
      let part = try self.created(plan)
      try self.refuseTakenName(plan)
      if !plan.isWhole { try self.keepParts(of: plan.endNode) }
      if request.isForFileServer, try self.local(part).current() == nil { try self.takeDownParts(of: plan) }
      let status = try self.local(part).attach()
      self.watchLife(of: request)
      if request.isForFileServer { self.changed() }
      return status
    }
  }

  public func detach(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request) { plan in
      try self.takeDownParts(of: plan)
      guard try self.disks.contains(plan.endNode) else {
        try self.checkNotAttached(withoutDisk: plan)
        try self.removeNames(plan)
        return FunctionStatus(request, .created)
      }
      try self.removeNames(plan)
      guard let part = try self.part(plan) else { return FunctionStatus(request, .absent) }
      self.lives.stop(Self.key(request))
      try self.local(part).detach()
      return FunctionStatus(request, .created)
    }
  }

  public func serve(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request) { plan in
      let mediation = try plan.mediation()
      let part = try self.created(plan)
      try self.keepParts(of: plan.endNode)
      let daemon = self.daemon(plan)
      let port = try daemon.serve(part, by: mediation, to: plan.request.assignment?.host ?? "")
      self.watchLife(of: request)
      return part.served(at: port, daemon.recordedLimits)
    }
  }

  public func unserve(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request) { plan in
      self.lives.stop(Self.key(request))
      try self.daemon(plan).stop()
      // Nobody can reach the extent any more, and nothing can be flushed to a disk that is gone.
      guard try self.disks.contains(plan.endNode) else { return FunctionStatus(request, .created) }
      guard let part = try self.part(plan) else { return FunctionStatus(request, .absent) }
      try part.flush()
      return FunctionStatus(request, .created)
    }
  }

  public func connect(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request) { plan in
      let disk = self.networkDisk(plan)
      if let status = try disk.connected() { return status }
      try self.refuseTakenName(plan)
      self.lives.stop(Self.key(request))
      try self.takeDownParts(of: plan)
      let status = try disk.connect()
      self.watchLife(of: request)
      if request.isForFileServer { self.changed() }
      return status
    }
  }

  public func disconnect(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request) { plan in
      self.lives.stop(Self.key(request))
      try self.takeDownParts(of: plan)
      try self.removeNames(plan)
      try self.networkDisk(plan).disconnect()
      try self.forgetParts(of: plan)
      return FunctionStatus(request, .absent)
    }
  }

  public func configure(_ request: FunctionRequest) async throws -> FunctionStatus {
    try await perform(request) { plan in
      let part = try self.created(plan)
      let daemon = request.role == .server ? self.daemon(plan) : self.localDaemon(plan)
      if daemon.isRunning { try daemon.apply(plan.limits) }
      if request.role == .server { return try self.observe(request) }
      guard let status = try self.local(part).current() else { return part.status(.created) }
      guard daemon.isRunning || plan.limits.isNone else {
        throw PluginError(
          .failedPrecondition,
          "\(plan.function) was attached without limits, for its full speed, and cannot be held back while it is in use: "
            + "release the claim, and claim it with limits.")
      }
      return status
    }
  }

  public func fence(_ request: FunctionRequest) async throws -> FunctionStatus {
    switch request.role {
    case .consumer: try await disconnect(request)
    case .server: try await unserve(request)
    case .fencer: try await perform(request) { try self.cutOffLostHost($0) }
    default: try await detach(request)
    }
  }

  public func adopt(_ request: FunctionRequest) async throws -> FunctionStatus {
    let status = try await BlockingThread.detached { try self.observe(request) }
    guard status.phase != .absent else {
      throw PluginError(.notFound, "There is no function \(request.assignment?.function ?? "") to adopt.")
    }
    return status
  }

  // MARK: Parts of a function, for the extensions beside this file too

  /// There is news that no look would find at once.
  public func changed() { watchers.changed() }

  private var security: DiskTLS { DiskTLS(tls: context.tls, host: context.hostName) }

  func daemon(_ plan: FunctionPlan) -> StorageDaemon {
    StorageDaemon(
      directory: FunctionDirectory(runtimeDirectory: context.runtimeDirectory, function: "server " + plan.function),
      security: security)
  }

  func networkDisk(_ plan: FunctionPlan) -> NetworkDisk {
    NetworkDisk(
      plan: plan,
      directory: FunctionDirectory(runtimeDirectory: context.runtimeDirectory, function: "consumer " + plan.function),
      security: security)
  }

  /// The function's part of its disk; nil if it was never created or is destroyed.
  func part(_ plan: FunctionPlan) throws -> FunctionExtent? {
    if isOfNothing(plan) { return nil }
    guard let extent = try disks.extent(of: plan.function, endNode: plan.endNode) else { return nil }
    return FunctionExtent(plan: plan, disk: try disks.description(of: plan.endNode), extent: extent)
  }

  func local(_ part: FunctionExtent) throws -> any LocalAttachment {
    if part.plan.isDriven(part.disk) {
      return DrivenAttachment(
        part: part, sysfs: Sysfs(), give: disks.give, given: disks.given, takeBack: disks.takeBack)
    }
    guard !part.plan.isWhole else {
      return WholeDiskAttachment(
        part: part, keeper: disks.keeper, pull: disks.pull,
        mark: SeizureMark(stateDirectory: context.stateDirectory, function: part.plan.function))
    }
    if case .virtualMachine = part.plan.request.assignment?.consumer?.kind {
      return MachineAttachment(part: part, daemon: localDaemon(part.plan), slot: part.plan.handover.slot)
    }
    // What is there goes before what would be made.
    let limited = LimitedAttachment(part: part, daemon: localDaemon(part.plan), disk: localDisk(part.plan))
    if limited.isThere { return limited }
    let (mapped, loop) = (MappedAttachment(part: part), LoopAttachment(part: part))
    if try mapped.isThere { return mapped }
    if try loop.found() != nil { return loop }
    guard part.plan.limits.isNone else { return limited }
    return MappedDevice.isPossible ? mapped : loop
  }

  /// Of a function that is held back on its disk's own host.
  func localDaemon(_ plan: FunctionPlan) -> StorageDaemon {
    StorageDaemon(
      directory: FunctionDirectory(
        runtimeDirectory: context.runtimeDirectory, function: "local server " + plan.function),
      security: security)
  }

  private func localDisk(_ plan: FunctionPlan) -> NetworkDisk {
    NetworkDisk(
      plan: plan,
      directory: FunctionDirectory(
        runtimeDirectory: context.runtimeDirectory, function: "local consumer " + plan.function),
      security: security, localSocket: localDaemon(plan).localSocket)
  }

  private func created(_ plan: FunctionPlan) throws -> FunctionExtent {
    guard let part = try part(plan) else {
      throw PluginError(.failedPrecondition, "\(plan.function) has not been created.")
    }
    try disks.checkGeometry(of: plan)
    return part
  }

  /// Before its blocks are wiped or given to somebody else.
  func checkUnused(_ plan: FunctionPlan) throws {
    if let part = try part(plan), let holder = try local(part).holder() {
      throw PluginError(.failedPrecondition, "\(plan.function) is still attached as \(holder).")
    }
    guard daemon(plan).isProvenGone else { throw PluginError(.failedPrecondition, "\(plan.function) is still served.") }
  }

  /// A part of what this host has let go of, or of what was cut off at its device and is not attached here.
  private func destroyWithoutDevice(_ plan: FunctionPlan) throws -> FunctionStatus {
    try daemon(plan).stop()
    try checkNotAttached(withoutDisk: plan)
    try removeNames(plan)
    try disks.releaseServed(plan)
    try forgetParts(of: plan)
    return FunctionStatus(plan.request, .absent)
  }

  /// Without its disk a loop device, unlike a mapped one, cannot be told from others by what is behind it: the link alone says which one it is,
  /// and that is not enough to take it from somebody.
  private func checkNotAttached(withoutDisk plan: FunctionPlan) throws {
    try MappedAttachment.device(of: plan.function)?.withdraw()
    guard !isNamedByAnother(plan), let loop = plan.handover.link?.target, LoopDevice.attachedSequence(loop) != nil
    else { return }
    throw PluginError(
      .failedPrecondition,
      "\(plan.function) may still be attached as \(loop), and its disk is not there: bring the disk back, or its entry in "
        + "the configuration, or detach the device: losetup --detach \(loop)")
  }

  /// A claim's name is given again once its function is gone: what names another function stays.
  private func removeNames(_ plan: FunctionPlan) throws {
    if !isNamedByAnother(plan) { try plan.handover.takeAll() }
  }

  func isNamedByAnother(_ plan: FunctionPlan) -> Bool {
    context.knownFunctions.contains { other in
      other.assignment?.claim == plan.request.assignment?.claim && other.assignment?.function != plan.function
    }
  }

  private static func key(_ request: FunctionRequest) -> String {
    "\(request.assignment?.function ?? "") \(request.role)"
  }

  /// Also of a process that another run of this plugin started. What does not run now is seen by the next observation.
  private func watchLife(of request: FunctionRequest) {
    guard let plan = try? FunctionPlan(request) else { return }
    switch request.role {
    case .server:
      if let process = daemon(plan).process { lives.watch(Self.key(request), process) }
    case .consumer:
      let disk = networkDisk(plan)
      guard !disk.isAbsent, let process = disk.process else { return }
      lives.watch(Self.key(request), process, connection: try? disk.connection(of: process))
    case .direct:
      if let process = localDaemon(plan).process { lives.watch(Self.key(request), process) }
    default: break
    }
  }

  /// Each verb blocks, so each has a thread.
  private func perform(
    _ request: FunctionRequest, _ body: @escaping @Sendable (FunctionPlan) throws -> FunctionStatus
  ) async throws -> FunctionStatus {
    try await BlockingThread.detached { try body(try FunctionPlan(request)) }
  }
}
