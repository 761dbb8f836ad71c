import FoundationEssentials
import MeshTLS
import Services
import Synchronization

/// A coordinator as the commands see it: what a test puts into it, on a Unix socket of its own.
final class FakeCoordinator: Sendable {
  struct World: Sendable {
    var cluster = Cluster {
      $0.id = "6f0e8d2c-0000-4000-8000-000000000001"
      $0.epoch = 3
      $0.coordinatorVersion = "0.1.0"
    }
    var claims: [Claim] = []
    var hosts: [Host] = []
    var endNodes: [EndNode] = []
    var functions: [AssignedFunction] = []
    var orphans: [Orphan] = []
    var readings: [FunctionReading] = []
    var drains: [DrainRequest] = []
    var taints: [TaintRequest] = []
    /// That a card's driver makes.
    var mostFunctions = UInt32.max
    var tenants: [Tenant] = []
    var rebalances: [RebalanceRequest] = []
    /// What `Rebalance` answers.
    var rebalance = RebalanceAnswer()
    /// What a drain finds.
    var remaining: [DrainRemainder] = []
    /// What `Backup` sends and `Restore` has received.
    var backup: [[UInt8]] = []
    var restored: [UInt8] = []
    /// What was restored is not put in place.
    var keepsItsStore = false
    var started = Timestamp(seconds: Int64(Date().timeIntervalSince1970) - 3720)
    var explanation = ClaimExplanation()
    /// The newest first, in pages of as many as are asked for.
    var holdings: [Holding] = []
    var holdingRequests: [ListHoldingsRequest] = []
    /// What a plan comes to, and what is asked to be applied.
    var plan = ClaimPlan()
    var applied: [ApplyClaimsRequest] = []
    /// Refuses what is to be applied, or has it change something; the plan is answered as it was before.
    var onApply: (@Sendable (inout World, ApplyClaimsRequest) throws -> Void)?
    var deletions: [DeleteClaimRequest] = []
    /// Watch events, told to each watcher after what there is; a watch of a lower revision is told the later ones.
    var events: [ClaimEvent] = []
    var watchRequests: [WatchClaimsRequest] = []
    /// Calls that are carried out and whose answer is lost, by method.
    var lostAnswers: [String: Int] = [:]
    /// Methods in the order in which they were called.
    var calls: [String] = []
    var clockError: Duration = .zero
  }

  let world: Mutex<World>
  /// A port of 0 is the one that was found at the start.
  var endpoint: SocketEndpoint { bound.withLock { $0 } }
  private let bound: Mutex<SocketEndpoint>
  /// Over TCP then.
  private let security: ServerTLS?
  private let running = Mutex<Task<Void, any Error>?>(nil)
  private let directory: String
  private let hasOperations: Bool

  init(
    hasOperations: Bool = true, security: ServerTLS? = nil, _ body: (inout World) -> Void = { _ in }
  ) async throws {
    directory = "/tmp/iov-cli-" + UUID().uuidString
    try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
    bound = Mutex(security == nil ? .unix(path: directory + "/socket") : .tcp(host: "127.0.0.1", port: 0))
    self.security = security
    self.hasOperations = hasOperations
    var first = World()
    body(&first)
    world = Mutex(first)
    try await start()
  }

  deinit {
    running.withLock { $0?.cancel() }
    try? FileManager.default.removeItem(atPath: directory)
  }

  func file(_ name: String) -> String { directory + "/" + name }

  func start() async throws {
    var services: [any RPCService] = [FakeClaims(coordinator: self), FakeInventory(coordinator: self)]
    if hasOperations { services.append(FakeOperations(coordinator: self)) }
    var limits = ServerLimits()
    limits.drainTimeout = .zero
    let server = RPCServer(services: services, limits: limits)
    let endpoint = try await server.bind(endpoint, security: security)
    bound.withLock { $0 = endpoint }
    running.withLock { $0 = Task { try await server.run() } }
  }

  /// As a coordinator that is stopped: all its calls end with UNAVAILABLE.
  func stop() async throws {
    let task = running.withLock { $0 }
    task?.cancel()
    try await task?.value
  }

  /// Carries a call out, and loses the answer if the test wants that.
  func carryOut<Answer: Sendable>(_ method: String, _ body: (inout World) throws -> Answer) throws -> Answer {
    let (answer, isLost) = try world.withLock { world in
      world.calls.append(method)
      let answer = try body(&world)
      let left = world.lostAnswers[method] ?? 0
      if left > 0 { world.lostAnswers[method] = left - 1 }
      return (answer, left > 0)
    }
    guard !isLost else { throw RPCError(.unavailable, "the coordinator is stopping") }
    return answer
  }

  func arguments(_ words: [String]) -> [String] { words + ["--coordinator", endpoint.description] }

  /// Runs `iov` against this coordinator.
  func iov(_ words: String..., input: String? = nil) async throws -> Run { try await iov(words, input: input) }

  func iov(_ words: [String], input: String? = nil) async throws -> Run {
    try await run(arguments(words), input: input)
  }
}

private struct FakeClaims: ClaimsService {
  unowned let coordinator: FakeCoordinator

  func createClaim(_ request: CreateClaimRequest, call: ServerCall) async throws -> Claim {
    try coordinator.carryOut("createClaim") { world in
      if let claim = world.claims.first(where: { $0.name == request.name }) { return claim }
      let claim = Claim {
        $0.name = request.name
        $0.uid = "uid-\(world.claims.count + 1)"
        $0.specification = request.specification
        $0.status = ClaimStatus { $0.phase = .pending }
      }
      world.claims.append(claim)
      return claim
    }
  }

  func getClaim(_ request: GetClaimRequest, call: ServerCall) async throws -> Claim {
    try coordinator.carryOut("getClaim") { world in
      guard let claim = world.claims.first(where: { $0.name == request.name }) else {
        throw RPCError(.notFound, "no claim '\(request.name)'")
      }
      return claim
    }
  }

  func listClaims(_ request: ListClaimsRequest, call: ServerCall) async throws -> ListClaimsResponse {
    try coordinator.carryOut("listClaims") { world in
      let found = world.claims.sorted { $0.name < $1.name }.filter { claim in
        claim.name > request.pageToken && request.includes(claim, endNodeNames: world.names(ofEndNode: request.endNode))
      }
      return ListClaimsResponse {
        $0.claims = Array(found.prefix(world.page(request.pageSize)))
        if $0.claims.count < found.count { $0.nextPageToken = $0.claims.last?.name ?? "" }
      }
    }
  }

  func deleteClaim(_ request: DeleteClaimRequest, call: ServerCall) async throws -> Claim {
    try coordinator.carryOut("deleteClaim") { world in
      guard let index = world.claims.firstIndex(where: { $0.name == request.name }) else {
        throw RPCError(.notFound, "no claim '\(request.name)'")
      }
      world.deletions.append(request)
      return world.claims.remove(at: index)
    }
  }

  func updateClaimRates(_ request: UpdateClaimRatesRequest, call: ServerCall) async throws -> Claim {
    throw RPCError(.unimplemented, "not here")
  }

  func extendClaim(_ request: ExtendClaimRequest, call: ServerCall) async throws -> Claim {
    try coordinator.carryOut("extendClaim") { world in
      guard let index = world.claims.firstIndex(where: { $0.name == request.name }) else {
        throw RPCError(.notFound, "no claim '\(request.name)'")
      }
      world.claims[index].specification?.timeToLiveSeconds = request.timeToLiveSeconds
      return world.claims[index]
    }
  }

  func explainClaim(_ request: ExplainClaimRequest, call: ServerCall) async throws -> ClaimExplanation {
    try coordinator.carryOut("explainClaim") { $0.explanation }
  }

  func listHoldings(_ request: ListHoldingsRequest, call: ServerCall) async throws -> ListHoldingsResponse {
    try coordinator.carryOut("listHoldings") { world in
      world.holdingRequests.append(request)
      let start = Int(request.pageToken) ?? 0
      let page = world.holdings.dropFirst(start).prefix(Int(request.pageSize))
      return ListHoldingsResponse {
        $0.holdings = Array(page)
        if start + page.count < world.holdings.count { $0.nextPageToken = "\(start + page.count)" }
      }
    }
  }

  func planClaims(_ request: ApplyClaimsRequest, call: ServerCall) async throws -> ClaimPlan {
    try coordinator.carryOut("planClaims") { $0.plan }
  }

  func applyClaims(_ request: ApplyClaimsRequest, call: ServerCall) async throws -> ClaimPlan {
    try coordinator.carryOut("applyClaims") { world in
      guard request.planRevision.isEmpty || request.planRevision == world.plan.revision else {
        throw RPCError(.aborted, "the plan is stale")
      }
      let plan = world.plan
      try world.onApply?(&world, request)
      world.applied.append(request)
      return plan
    }
  }

  func watchClaims(
    _ request: WatchClaimsRequest, responses: ResponseWriter<ClaimEvent>, call: ServerCall
  ) async throws {
    let events = try coordinator.world.withLock { world in
      world.watchRequests.append(request)
      if request.fromRevision > 0, request.epoch != world.cluster.epoch {
        throw RPCError(.outOfRange, "revisions of different epochs do not compare")
      }
      return request.fromRevision > 0
        ? world.events.filter { $0.revision > request.fromRevision }
        : world.claims.map { world.event(.exists, $0) } + [world.event(.synced, nil)] + world.events
    }
    for event in events { try await responses.write(event) }
    while true { try await Task.sleep(for: .seconds(3600)) }
  }
}

extension AssignedFunction {
  fileprivate var id: String { assignment?.function ?? "" }
}

extension FakeCoordinator.World {
  /// Fewer at once than anybody asks for, so that there are pages.
  fileprivate func page(_ size: UInt32) -> Int { size == 0 ? .max : 2 }

  fileprivate func names(ofEndNode name: String) -> Set<String> {
    guard let node = endNodes.first(where: { $0.id == name || $0.name == name }) else { return [name] }
    return [node.id, node.name]
  }

  func event(_ kind: ClaimEventKind, _ claim: Claim?, revision: UInt64? = nil) -> ClaimEvent {
    ClaimEvent {
      $0.kind = kind
      $0.claim = claim
      $0.revision = revision ?? cluster.revision
      $0.epoch = cluster.epoch
    }
  }
}

private struct FakeInventory: InventoryService {
  unowned let coordinator: FakeCoordinator

  func getCluster(_ request: GetClusterRequest, call: ServerCall) async throws -> Cluster {
    try coordinator.carryOut("getCluster") { $0.cluster }
  }

  func listHosts(_ request: ListHostsRequest, call: ServerCall) async throws -> ListHostsResponse {
    try coordinator.carryOut("listHosts") { world in ListHostsResponse { $0.hosts = world.hosts } }
  }

  func listEndNodes(_ request: ListEndNodesRequest, call: ServerCall) async throws -> ListEndNodesResponse {
    try coordinator.carryOut("listEndNodes") { world in ListEndNodesResponse { $0.endNodes = world.endNodes } }
  }

  func listFunctions(_ request: ListFunctionsRequest, call: ServerCall) async throws -> ListFunctionsResponse {
    try coordinator.carryOut("listFunctions") { world in
      let names = world.names(ofEndNode: request.endNode)
      let found = world.functions.sorted { $0.id < $1.id }.filter { function in
        function.id > request.pageToken
          && request.includes(function.assignment ?? Assignment(), endNodeNames: names)
      }
      return ListFunctionsResponse {
        $0.functions = Array(found.prefix(world.page(request.pageSize)))
        if $0.functions.count < found.count { $0.nextPageToken = $0.functions.last?.id ?? "" }
      }
    }
  }

  func getStatistics(_ request: GetStatisticsRequest, call: ServerCall) async throws -> GetStatisticsResponse {
    try coordinator.carryOut("getStatistics") { world in
      GetStatisticsResponse {
        $0.functions = world.readings.filter { request.function.isEmpty || $0.function == request.function }
      }
    }
  }
}

private struct FakeOperations: OperationsService {
  unowned let coordinator: FakeCoordinator

  func getStatus(_ request: GetStatusRequest, call: ServerCall) async throws -> CoordinatorStatus {
    try coordinator.carryOut("getStatus") { world in
      let now = Date().timeIntervalSince1970 + Double(world.clockError.components.seconds)
      return CoordinatorStatus {
        $0.cluster = world.cluster
        $0.now = Timestamp(seconds: Int64(now))
        $0.started = world.started
        $0.storePath = "/var/lib/iov/claims.sqlite"
        $0.storeBytes = 3 << 20
        if !world.restored.isEmpty, !world.keepsItsStore { $0.formerStorePath = Self.formerStorePath }
      }
    }
  }

  func confirmHostDead(_ request: ConfirmHostDeadRequest, call: ServerCall) async throws -> Host {
    try coordinator.carryOut("confirmHostDead \(request.bootId)") { world in
      try world.changeHost(request.host) { host in
        host.state = .dead
        host.death = HostDeath { $0.reason = "confirmed by an operator" }
      }
    }
  }

  func fenceHost(_ request: FenceHostRequest, call: ServerCall) async throws -> Host {
    try coordinator.carryOut("fenceHost") { world in
      try world.changeHost(request.host) { host in
        host.state = .dead
        host.death = HostDeath { $0.reason = "fenced by /usr/sbin/fence_test" }
      }
    }
  }

  func rescanHost(_ request: RescanHostRequest, call: ServerCall) async throws -> Host {
    try coordinator.carryOut("rescanHost") { world in try world.changeHost(request.host) { _ in } }
  }

  func forgetHost(_ request: ForgetHostRequest, call: ServerCall) async throws -> Host {
    try coordinator.carryOut("forgetHost") { world in
      let host = try world.changeHost(request.host) { _ in }
      world.hosts.removeAll { $0.name == request.host }
      return host
    }
  }

  func evictClaim(_ request: EvictClaimRequest, call: ServerCall) async throws -> Claim {
    try coordinator.carryOut("evictClaim") { world in
      guard let index = world.claims.firstIndex(where: { $0.name == request.name }) else {
        throw RPCError(.notFound, "no claim '\(request.name)'")
      }
      world.claims[index].status?.phase = .reclaiming
      world.claims[index].status?.pending = [PendingReason { $0.message = "was evicted: \(request.reason)" }]
      return world.claims[index]
    }
  }

  func cordon(_ request: CordonRequest, call: ServerCall) async throws -> MaintenanceAnswer {
    try coordinator.carryOut("cordon") { world in
      try world.change(request.target) { $0 = Cordon { $0.reason = request.reason } }
    }
  }

  func uncordon(_ request: UncordonRequest, call: ServerCall) async throws -> MaintenanceAnswer {
    try coordinator.carryOut("uncordon") { world in try world.change(request.target) { $0 = nil } }
  }

  func drain(_ request: DrainRequest, call: ServerCall) async throws -> MaintenanceAnswer {
    try coordinator.carryOut("drain") { world in
      world.drains.append(request)
      let remaining = world.remaining
      return try world.change(request.target) {
        $0 = Cordon {
          $0.reason = request.reason
          $0.drain = Drain {
            $0.remainingMilliseconds = request.deadlineMilliseconds
            $0.remaining = remaining
          }
        }
      }
    }
  }

  func taint(_ request: TaintRequest, call: ServerCall) async throws -> MaintenanceAnswer {
    try coordinator.carryOut("taint") { world in
      world.taints.append(request)
      return try world.change(request.target) { _ in }
    }
  }

  func setFunctionCount(_ request: SetFunctionCountRequest, call: ServerCall) async throws -> MaintenanceAnswer {
    try coordinator.carryOut("setFunctionCount") { world in
      guard let index = world.endNodes.firstIndex(where: { $0.name == request.endNode }) else {
        throw RPCError(.notFound, "there is no end node '\(request.endNode)'")
      }
      world.endNodes[index].wantedFunctions = request.count
      let answer = MaintenanceAnswer { $0.endNode = world.endNodes[index] }
      // Its host makes them in the next moment, as far as its driver does.
      var count = world.endNodes[index].physicalFunction?.functionCount ?? FunctionCount()
      (count.ordered, count.wanted) = (request.count, request.count)
      count.present = min(request.count ?? count.present, world.mostFunctions)
      count.message = request.count.map { $0 > count.present ? "the driver made \(count.present)" : "" } ?? ""
      world.endNodes[index].physicalFunction?.functionCount = count
      return answer
    }
  }

  func rebalance(_ request: RebalanceRequest, call: ServerCall) async throws -> RebalanceAnswer {
    try coordinator.carryOut("rebalance") { world in
      world.rebalances.append(request)
      return world.rebalance
    }
  }

  func createTenant(_ request: CreateTenantRequest, call: ServerCall) async throws -> Tenant {
    try coordinator.carryOut("createTenant") { world in
      let tenant = Tenant {
        $0.name = request.name
        $0.weight = request.weight
        $0.quotas = request.quotas
      }
      world.tenants.append(tenant)
      return tenant
    }
  }

  func setTenant(_ request: SetTenantRequest, call: ServerCall) async throws -> Tenant {
    try coordinator.carryOut("setTenant") { world in
      guard let index = world.tenants.firstIndex(where: { $0.name == request.name }) else {
        throw RPCError(.notFound, "no tenant '\(request.name)'")
      }
      if let weight = request.weight { world.tenants[index].weight = weight }
      world.tenants[index].quotas = request.quotas
      return world.tenants[index]
    }
  }

  func deleteTenant(_ request: DeleteTenantRequest, call: ServerCall) async throws -> Tenant {
    try coordinator.carryOut("deleteTenant") { world in
      guard let index = world.tenants.firstIndex(where: { $0.name == request.name }) else {
        throw RPCError(.notFound, "no tenant '\(request.name)'")
      }
      return world.tenants.remove(at: index)
    }
  }

  func listTenants(_ request: ListTenantsRequest, call: ServerCall) async throws -> ListTenantsResponse {
    try coordinator.carryOut("listTenants") { world in ListTenantsResponse { $0.tenants = world.tenants } }
  }

  func listOrphans(_ request: ListOrphansRequest, call: ServerCall) async throws -> ListOrphansResponse {
    try coordinator.carryOut("listOrphans") { world in ListOrphansResponse { $0.orphans = world.orphans } }
  }

  func adoptOrphan(_ request: AdoptOrphanRequest, call: ServerCall) async throws -> Claim {
    try coordinator.carryOut("adoptOrphan") { world in
      if let holder = world.claims.first(where: { $0.status?.assignment?.function == request.function }) {
        throw RPCError(
          .failedPrecondition, "function \(request.function) is no orphan: claim '\(holder.name)' holds it")
      }
      guard let orphan = world.orphans.first(where: { $0.status?.function?.id == request.function }) else {
        throw RPCError(.notFound, "no orphan '\(request.function)'")
      }
      world.orphans.removeAll { $0.status?.function?.id == request.function }
      let claim = Claim {
        $0.name = request.claim.isEmpty ? orphan.status?.assignment?.claim ?? "" : request.claim
        $0.uid = "adopted"
        $0.status = ClaimStatus {
          $0.phase = .ready
          $0.assignment = Assignment {
            $0.function = request.function
            $0.claim = request.claim.isEmpty ? orphan.status?.assignment?.claim ?? "" : request.claim
          }
        }
      }
      world.claims.append(claim)
      world.functions.append(AssignedFunction { $0.assignment = claim.status?.assignment })
      return claim
    }
  }

  func purgeOrphan(_ request: PurgeOrphanRequest, call: ServerCall) async throws -> ListOrphansResponse {
    try coordinator.carryOut("purgeOrphan") { world in
      for index in world.orphans.indices
      where world.orphans[index].status?.function?.id == request.function
        && (request.host.isEmpty || request.host == world.orphans[index].host)
      {
        world.orphans[index].releasing = true
      }
      return ListOrphansResponse { $0.orphans = world.orphans.filter { $0.status?.function?.id == request.function } }
    }
  }

  func backup(_ request: BackupRequest, responses: ResponseWriter<BackupChunk>, call: ServerCall) async throws {
    let chunks = try coordinator.carryOut("backup") { $0.backup }
    for chunk in chunks { try await responses.write(BackupChunk { $0.data = chunk }) }
    if chunks.isEmpty { throw RPCError(.internalError, "the disk is broken") }
  }

  func restore(
    _ requests: RequestStream<BackupChunk>, responses: ResponseWriter<RestoreResponse>, call: ServerCall
  ) async throws {
    var bytes: [UInt8] = []
    for try await chunk in requests { bytes += chunk.data }
    let received = bytes
    coordinator.world.withLock {
      $0.restored = received
      $0.started.seconds += 1
    }
    try await responses.write(
      RestoreResponse {
        $0.clusterId = "6f0e8d2c-0000-4000-8000-000000000001"
        $0.revision = 90
        $0.claims = 2
        $0.formerStorePath = Self.formerStorePath
      })
  }

  private static let formerStorePath = "/var/lib/iov/claims.sqlite.before-restore"
}

extension FakeCoordinator.World {
  fileprivate mutating func change(
    _ target: MaintenanceTarget?, _ change: (inout Cordon?) -> Void
  ) throws -> MaintenanceAnswer {
    switch target?.kind {
    case .host(let name):
      let host = try changeHost(name) { change(&$0.cordon) }
      return MaintenanceAnswer { $0.host = host }
    case .endNode(let name):
      guard let index = endNodes.firstIndex(where: { $0.name == name }) else {
        throw RPCError(.notFound, "no end node '\(name)'")
      }
      change(&endNodes[index].cordon)
      return MaintenanceAnswer { $0.endNode = endNodes[index] }
    case nil: throw RPCError(.invalidArgument, "nothing is named")
    }
  }

  fileprivate mutating func changeHost(_ name: String, _ change: (inout Host) -> Void) throws -> Host {
    guard let index = hosts.firstIndex(where: { $0.name == name }) else {
      throw RPCError(.notFound, "no host '\(name)'")
    }
    change(&hosts[index])
    return hosts[index]
  }
}
