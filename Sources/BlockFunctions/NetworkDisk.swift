import FunctionPluginKit
import LinuxDevices
import Services

/// A function used on another host than the disk's, or held back on the disk's own: a storage daemon serves it, and a client here
/// makes it a block device. That is the kernel's own where the kernel has one (`KernelClient`), else nbdfuse (`FileClient`).
struct NetworkDisk: Sendable {
  /// What a client says that fails.
  static let log = "client.log"
  let plan: FunctionPlan
  let directory: FunctionDirectory
  let security: DiskTLS
  /// Where this host's own storage daemon serves it; nil: another host does.
  var localSocket: String?

  var kernelClient: KernelClient { KernelClient(directory: directory, isReadOnly: plan.isReadOnly) }
  var fileClient: FileClient { FileClient(directory: directory, security: security, isReadOnly: plan.isReadOnly) }

  /// The one that was started last.
  private var client: any DiskClient { directory.text("backend") == nil ? fileClient : kernelClient }

  func connect() throws -> FunctionStatus {
    let export = try export()
    if let status = try connected(to: export) { return status }
    try disconnect()
    if localSocket == nil { try security.check() }
    do {
      try start(export)
      guard let device else { throw PluginError(.unavailable, "its device went at once") }
      try plan.handover.give(device)
      guard let status = try connected(to: export) else { throw PluginError(.unavailable, "it went at once") }
      return status
    } catch {
      let log = directory.text(Self.log) ?? ""
      try? disconnect()
      throw PluginError(.unavailable, "\(export.uri) cannot be used: \(error). \(explanation(of: log))\(log)")
    }
  }

  /// A kernel that has a client may still lack what this connection takes, such as its cipher.
  private func start(_ export: ExportPlace) throws {
    try prepare(export)
    if KernelClient.isPossible(secured: export.isSecured) {
      do {
        return try kernelClient.start(export)
      } catch let error as ProgramEnded where error.status == .exited(NetworkBlockDriver.lackingExitCode) {
        try disconnect()
        try prepare(export)
      }
    }
    try fileClient.start(export)
  }

  private func prepare(_ export: ExportPlace) throws {
    try directory.make()
    if localSocket == nil { try security.link(.client, in: directory) }
    try directory.write("uri", export.uri)
  }

  /// The status if everything is there, belongs to this server, and the server is at the other end. An agent that has got a
  /// certificate takes no disk away from whoever uses it: the next connection is with TLS.
  func connected(to wanted: ExportPlace? = nil) throws -> FunctionStatus? {
    let wanted = try (wanted ?? export()).uri
    let client = client
    guard let found = directory.text("uri"), ExportPlace.place(of: found) == ExportPlace.place(of: wanted),
      let process = client.process, isServed(process), let device = client.device, plan.handover.isGiven(device),
      let measures = try client.measures()
    else { return nil }
    guard measures.isReadOnly == plan.isReadOnly, plan.sizeBytes == 0 || measures.sizeBytes == plan.sizeBytes else {
      throw PluginError(
        .unavailable,
        "\(wanted) has \(measures.sizeBytes) bytes and read-only \(measures.isReadOnly), the assignment grants "
          + "\(plan.sizeBytes) and \(plan.isReadOnly).")
    }
    return plan.arrived(sizeBytes: measures.sizeBytes, isReadOnly: measures.isReadOnly) {
      plan.handover.describe(device, &$0)
      $0.uri = found
    }
  }

  /// With whose end the device has no server any more.
  var process: ProcessHandle? { client.process }

  /// The block device; nil when there is none.
  var device: String? { client.device }

  /// A process's way to the server; nil when it has none.
  func connection(of process: ProcessHandle) throws -> ProcessConnection? {
    guard localSocket == nil else { return nil }
    let mediation = try plan.mediation()
    guard let port = UInt16(exactly: mediation.serverPort) else { return nil }
    return try process.connection(to: mediation.serverAddress, port: port)
  }

  /// False when the server has closed the connection: no client opens another. A connection that cannot be looked at
  /// is taken for good.
  private func isServed(_ process: ProcessHandle) -> Bool {
    // Our own daemon is looked at by whoever asks.
    guard localSocket == nil else { return true }
    do {
      return try connection(of: process).map { !$0.isHungUp } ?? false
    } catch {
      return true
    }
  }

  /// Whether anything of the function is left on this host.
  var isAbsent: Bool { !directory.exists }

  private func export() throws -> ExportPlace {
    if let localSocket { return .here(socket: localSocket) }
    let mediation = try plan.mediation()
    guard mediation.serverPort > 0 else {
      throw PluginError(.failedPrecondition, "The assignment has no server port yet: its server does not serve.")
    }
    return .host(
      address: mediation.serverAddress, port: mediation.serverPort, export: mediation.exportName,
      certificates: security.tls == nil ? nil : directory.path)
  }

  private func explanation(of log: String) -> String {
    let assignment = plan.request.assignment
    let explanation = security.explanation(
      of: log, server: assignment?.controllingHost ?? "", at: assignment?.mediation?.serverAddress ?? "")
    return explanation.map { $0 + " " } ?? ""
  }

  /// Bounded in time whether the server answers or not, and whether somebody holds the device open or not.
  func disconnect() throws {
    if isAbsent { return }
    for client in [kernelClient, fileClient] as [any DiskClient] {
      if let device = client.device { try plan.handover.take(device) }
      try client.end()
    }
    try directory.remove()
  }
}
