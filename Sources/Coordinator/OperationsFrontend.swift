import Arbitration
import ClaimStore
import Glibc
import LinuxDevices
import Logging
import Services

/// `iov.v1.Operations`: what only operators ask.
struct OperationsFrontend: OperationsService {
  let arbiter: DurableArbiter
  let store: any ClaimStore
  let restorer: Restorer
  let fencer: Fencer
  let started: Timestamp
  let formerStorePath: String
  let logger: Logger

  func getStatus(_ request: GetStatusRequest, call: ServerCall) async throws -> CoordinatorStatus {
    let cluster = arbiter.read { $0.cluster }
    return CoordinatorStatus {
      $0.cluster = cluster
      $0.now = SystemClock.timestamp()
      $0.started = started
      $0.storePath = store.path
      $0.storeBytes = store.byteCount
      $0.formerStorePath = formerStorePath
    }
  }

  // MARK: Hosts

  func confirmHostDead(_ request: ConfirmHostDeadRequest, call: ServerCall) async throws -> Host {
    logger.notice(
      "host is said to be dead",
      metadata: ["host": "\(request.host)", "boot": "\(request.bootId)", "by": "\(call.peer)"])
    return try await arbiter.askForHost {
      .hostConfirmedDead($0, request, reason: "confirmed by an operator", isKnownToBeOff: false)
    }
  }

  func fenceHost(_ request: FenceHostRequest, call: ServerCall) async throws -> Host {
    guard let host = arbiter.read({ $0.host(named: request.host) }) else {
      throw RPCError(.notFound, "there is no host '\(request.host)'; iov host list shows all")
    }
    return try await fencer.fence(host, by: "\(call.peer)")
  }

  func forgetHost(_ request: ForgetHostRequest, call: ServerCall) async throws -> Host {
    let host = try await arbiter.askForHost { .hostForgotten($0, request) }
    logger.notice("host forgotten", metadata: ["host": "\(host.name)", "boot": "\(host.bootId)", "by": "\(call.peer)"])
    return host
  }

  func rescanHost(_ request: RescanHostRequest, call: ServerCall) async throws -> Host {
    try await arbiter.askForHost { .hostRescanned($0, request) }
  }

  // MARK: Maintenance

  func evictClaim(_ request: EvictClaimRequest, call: ServerCall) async throws -> Claim {
    let claim = try await arbiter.askForClaim { .claimEvicted($0, request) }
    var metadata = claim.metadata
    metadata["reason"] = "\(request.reason)"
    metadata["by"] = "\(call.peer)"
    logger.notice("claim evicted", metadata: metadata)
    return claim
  }

  func cordon(_ request: CordonRequest, call: ServerCall) async throws -> MaintenanceAnswer {
    let answer = try await arbiter.askForMaintenance { .cordoned($0, request) }
    logger.notice("cordoned", metadata: answer.metadata(by: call.peer))
    return answer
  }

  func uncordon(_ request: UncordonRequest, call: ServerCall) async throws -> MaintenanceAnswer {
    let answer = try await arbiter.askForMaintenance { .uncordoned($0, request) }
    logger.notice("uncordoned", metadata: answer.metadata(by: call.peer))
    return answer
  }

  func drain(_ request: DrainRequest, call: ServerCall) async throws -> MaintenanceAnswer {
    let answer = try await arbiter.askForMaintenance { .drained($0, request) }
    var metadata = answer.metadata(by: call.peer)
    metadata["deadline"] = "\(request.deadlineMilliseconds.map { "in \($0) ms" } ?? "none")"
    logger.notice("drain begun", metadata: metadata)
    return answer
  }

  func taint(_ request: TaintRequest, call: ServerCall) async throws -> MaintenanceAnswer {
    let answer = try await arbiter.askForMaintenance { .tainted($0, request) }
    var metadata = answer.metadata(by: call.peer)
    metadata["taints"] = "\((answer.endNode?.taints ?? answer.host?.taints ?? []).map(\.key))"
    logger.notice("taints changed", metadata: metadata)
    return answer
  }

  func setFunctionCount(_ request: SetFunctionCountRequest, call: ServerCall) async throws -> MaintenanceAnswer {
    let answer = try await arbiter.askForMaintenance { .functionCountSet($0, request) }
    var metadata = answer.metadata(by: call.peer)
    metadata["functions"] = "\(request.count.map { "\($0)" } ?? "as configured")"
    logger.notice("function count set", metadata: metadata)
    return answer
  }

  func rebalance(_ request: RebalanceRequest, call: ServerCall) async throws -> RebalanceAnswer {
    let answer = try await arbiter.askToRebalance { .rebalanced($0, request) }
    guard !request.planOnly else { return answer }
    logger.notice(
      request.stop ? "rebalancing stopped" : "rebalancing begun",
      metadata: ["class": "\(request.deviceClass)", "moves": "\(answer.moves.count)", "by": "\(call.peer)"])
    return answer
  }

  // MARK: Tenants

  func createTenant(_ request: CreateTenantRequest, call: ServerCall) async throws -> Tenant {
    let tenant = try await arbiter.askForTenant { .tenantCreated($0, request) }
    logger.notice("tenant made", metadata: ["tenant": "\(tenant.name)", "by": "\(call.peer)"])
    return tenant
  }

  func setTenant(_ request: SetTenantRequest, call: ServerCall) async throws -> Tenant {
    let tenant = try await arbiter.askForTenant { .tenantSet($0, request) }
    logger.notice(
      "tenant changed",
      metadata: [
        "tenant": "\(tenant.name)", "weight": "\(tenant.weight)", "forced": "\(request.force)", "by": "\(call.peer)",
      ])
    return tenant
  }

  func deleteTenant(_ request: DeleteTenantRequest, call: ServerCall) async throws -> Tenant {
    let tenant = try await arbiter.askForTenant { .tenantDeleted($0, request) }
    logger.notice("tenant deleted", metadata: ["tenant": "\(tenant.name)", "by": "\(call.peer)"])
    return tenant
  }

  func listTenants(_ request: ListTenantsRequest, call: ServerCall) async throws -> ListTenantsResponse {
    let tenants = arbiter.read { $0.listedTenants }
    return ListTenantsResponse { $0.tenants = tenants }
  }

  // MARK: Orphans

  func listOrphans(_ request: ListOrphansRequest, call: ServerCall) async throws -> ListOrphansResponse {
    let orphans = arbiter.read { $0.listedOrphans }
    return ListOrphansResponse { $0.orphans = orphans }
  }

  func adoptOrphan(_ request: AdoptOrphanRequest, call: ServerCall) async throws -> Claim {
    let claim = try await arbiter.askForClaim { .orphanAdopted($0, request) }
    var metadata = claim.metadata
    metadata["by"] = "\(call.peer)"
    logger.notice("orphan adopted", metadata: metadata)
    return claim
  }

  func purgeOrphan(_ request: PurgeOrphanRequest, call: ServerCall) async throws -> ListOrphansResponse {
    let orphans = try await arbiter.askForOrphans { .orphanPurged($0, request) }
    for orphan in orphans {
      let function = orphan.status?.function
      logger.notice(
        "orphan purged",
        metadata: [
          "host": "\(orphan.host)", "function": "\(function?.id ?? "")", "token": "\(function?.token?.value ?? 0)",
          "by": "\(call.peer)",
        ])
    }
    return ListOrphansResponse { $0.orphans = orphans }
  }

  // MARK: The store

  static let chunkByteCount = 64 << 10

  func backup(_ request: BackupRequest, responses: ResponseWriter<BackupChunk>, call: ServerCall) async throws {
    let disk = BlockingThread(name: "iov-backup")
    let file = try await disk.run { [store] in try Self.openCopy(of: store) }
    var byteCount = 0
    while true {
      let bytes = try await disk.run { try Self.read(file) }
      guard !bytes.isEmpty else { break }
      byteCount += bytes.count
      try await responses.write(BackupChunk { $0.data = bytes })
    }
    logger.notice("backup made", metadata: ["bytes": "\(byteCount)", "by": "\(call.peer)"])
  }

  /// The copy has no name any more when this returns: it goes with its descriptor, whatever becomes of the call.
  private static func openCopy(of store: any ClaimStore) throws -> FileDescriptor {
    do {
      let path = try store.copy()
      defer { unlink(path) }
      return try FileDescriptor(opening: path, O_RDONLY)
    } catch let error as StoreError {
      throw RPCError(error)
    } catch {
      throw RPCError(.unavailable, "the backup cannot be read back: \(error)")
    }
  }

  private static func read(_ file: FileDescriptor) throws(RPCError) -> [UInt8] {
    var failure: CInt = 0
    let bytes = [UInt8](unsafeUninitializedCapacity: chunkByteCount) { buffer, count in
      let length = Glibc.read(file.number, buffer.baseAddress, buffer.count)
      failure = length < 0 ? errno : 0
      count = max(0, length)
    }
    guard failure == 0 else {
      throw RPCError(.unavailable, "the backup cannot be read back: \(SystemCallError.reason(failure))")
    }
    return bytes
  }

  func restore(
    _ requests: RequestStream<BackupChunk>, responses: ResponseWriter<RestoreResponse>, call: ServerCall
  ) async throws {
    let replacement: StoreReplacement
    do {
      replacement = try await restorer.receive(requests)
    } catch let error as StoreError {
      throw RPCError(error)
    }
    do {
      try await responses.write(replacement.answer)
    } catch {
      // Whoever asked does not know that it would take effect.
      restorer.discard(replacement)
      throw error
    }
    logger.notice("restoring a backup", metadata: replacement.metadata(by: "\(call.peer)"))
    // Last, and without waiting for anything: the call ends before the server does.
    restorer.carryOut(replacement)
  }
}

extension MaintenanceAnswer {
  fileprivate func metadata(by caller: some CustomStringConvertible) -> Logger.Metadata {
    var metadata: Logger.Metadata = ["by": "\(caller)"]
    if let endNode { metadata["end-node"] = "\(endNode.id)" }
    if let host { metadata["host"] = "\(host.name)" }
    metadata["reason"] = "\((endNode?.cordon ?? host?.cordon)?.reason ?? "")"
    return metadata
  }
}

extension StoreReplacement {
  func metadata(by caller: String) -> Logger.Metadata {
    [
      "cluster": "\(backup.summary.cluster.id)", "revision": "\(backup.summary.cluster.revision)",
      "claims": "\(backup.summary.claims)", "former": "\(formerPath)", "by": "\(caller)",
    ]
  }
}

extension RPCError {
  /// What a caller is told of a store, or of a backup that was to become one.
  init(_ error: StoreError) {
    let code: StatusCode =
      switch error.reason {
      case .full: .resourceExhausted
      case .otherCluster, .inUse, .newerSchema: .failedPrecondition
      case .foreign, .damaged: .invalidArgument
      case .unreachable, .readOnly, .failed, .closed: .unavailable
      }
    self.init(code, error.description)
  }
}
