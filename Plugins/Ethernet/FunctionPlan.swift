import FunctionPluginKit
import Glibc
import LinuxDevices
import Services

/// What a request asks of the kernel, with every value checked that can be checked without looking at the system.
struct FunctionPlan: Sendable {
  var names: FunctionNames
  var role: Role
  var path: Path
  var claim: String
  var endNode: String
  /// Nil: of a function that is only to be released, and of which it is not known.
  var macAddress: MACAddress?
  /// Nil: the interface's own.
  var mtu: UInt32?
  /// Of the interface, in each direction; nil: as the kernel makes it.
  var queues: UInt32?
  /// Zero: no limit.
  var transmitBitsPerSecond: UInt64
  var receiveBitsPerSecond: UInt64
  var limitsAreBestEffort: Bool
  /// What only a card's own function can do; nil in it where nothing is asked.
  var settings: VirtualFunctionSettings
  var consumer: Consumer.Kind
  var interfaceName: String
  /// How this host is joined with the other; nil on a direct path.
  var tunnel: VXLANParameters?
  /// Of the function in the place of which this one comes, and whose interface becomes its own.
  var former: FunctionNames?

  init(_ request: FunctionRequest, vxlanPort: UInt16) throws(PluginError) {
    try self.init(releasing: request, vxlanPort: vxlanPort)
    let attributes = request.assignment?.attributes?.ethernet ?? EthernetAttributes()
    macAddress = try Self.macAddress(attributes.macAddress)
    transmitBitsPerSecond = try Self.rate(attributes.maxTransmitBitsPerSecond, "transmit")
    receiveBitsPerSecond = try Self.rate(attributes.maxReceiveBitsPerSecond, "receive")
    settings = try VirtualFunctionSettings(attributes)
    settings.macAddress = macAddress
    guard InterfaceName.isValid(interfaceName) else {
      throw PluginError(
        .invalidArgument,
        "'\(interfaceName)' cannot name an interface: 1 to \(InterfaceName.maximumLength) bytes, "
          + "no slash, colon, percent sign or white space")
    }
    if request.role == .server || request.role == .consumer {
      tunnel = try Self.tunnel(request.assignment?.mediation, role: request.role, port: vxlanPort)
    }
  }

  /// For taking a function back, which must succeed whatever it was asked to be: its id says which one it is. All else is used
  /// where it is known and makes sense. Whoever makes nothing needs no rates or settings.
  init(releasing request: FunctionRequest, vxlanPort: UInt16) throws(PluginError) {
    guard let assignment = request.assignment, !assignment.function.isEmpty else {
      throw PluginError(.invalidArgument, "the request has no assignment of a function")
    }
    names = FunctionNames(assignment.function)
    guard names.alias.utf8.count <= 255 else {
      throw PluginError(.invalidArgument, "the function's id is longer than 251 bytes")
    }
    role = request.role
    path = assignment.path
    claim = assignment.claim
    endNode = assignment.endNode
    let attributes = assignment.attributes?.ethernet ?? EthernetAttributes()
    macAddress = try? Self.macAddress(attributes.macAddress)
    mtu = attributes.mtu
    queues = attributes.queues
    transmitBitsPerSecond = 0
    receiveBitsPerSecond = 0
    limitsAreBestEffort = attributes.rateGuarantee == .bestEffort
    settings = VirtualFunctionSettings()
    interfaceName = names.interface
    consumer = .host(HostConsumer())
    if let asked = assignment.consumer, request.role != .server {
      if !asked.interfaceName.isEmpty { interfaceName = asked.interfaceName }
      if let kind = asked.kind { consumer = kind }
    }
    if !assignment.takesOver.isEmpty { former = FunctionNames(assignment.takesOver) }
    if request.role == .server || request.role == .consumer {
      tunnel = try? Self.tunnel(assignment.mediation, role: request.role, port: vxlanPort)
    }
  }

  /// One of the card's own, not a share in software.
  var isOwn: Bool { role == .direct && path == .direct }

  /// What the interface is called where this host puts it: a container's gets its name there from the container's runtime.
  var placedName: String {
    if case .container = consumer { names.interface } else { interfaceName }
  }

  func grantedAddress() throws(PluginError) -> MACAddress {
    guard let macAddress else { throw Self.noAddress }
    return macAddress
  }

  private static var noAddress: PluginError { PluginError(.invalidArgument, "the assignment grants no MAC address") }

  /// Nil: the host itself, or a consumer that has no network namespace by name.
  var consumerNamespace: String? {
    if case .networkNamespace(let namespace) = consumer { namespace.name } else { nil }
  }

  private static func macAddress(_ text: String?) throws(PluginError) -> MACAddress {
    guard let text else { throw noAddress }
    guard let address = MACAddress(text) else {
      throw PluginError(.invalidArgument, "'\(text)' is no MAC address: write it as 02:00:00:00:00:01")
    }
    guard !address.isMulticast, !address.isZero else {
      throw PluginError(.invalidArgument, "MAC address \(address) is not unicast: the first byte must be even")
    }
    return address
  }

  private static func rate(_ bitsPerSecond: UInt64?, _ direction: String) throws(PluginError) -> UInt64 {
    let rate = bitsPerSecond ?? 0
    guard rate == 0 || rate >= 8 else {
      throw PluginError(
        .invalidArgument, "a maximum \(direction) rate of \(rate) bit/s is below the smallest one, 8 bit/s")
    }
    return rate
  }

  private static func tunnel(
    _ mediation: Mediation?, role: Role, port: UInt16
  ) throws(PluginError) -> VXLANParameters {
    guard let mediation, mediation.mediator == EthernetPlugin.mediator else {
      throw PluginError(
        .invalidArgument, "mediator '\(mediation?.mediator ?? "")' is unknown: Ethernet is mediated by vxlan")
    }
    guard (1..<1 << 24).contains(mediation.vni) else {
      throw PluginError(.invalidArgument, "VNI \(mediation.vni) is not between 1 and 16777215")
    }
    guard let server = IPAddress(mediation.serverAddress), let consumer = IPAddress(mediation.consumerAddress),
      server.isIPv4 == consumer.isIPv4
    else {
      throw PluginError(
        .invalidArgument,
        "mediation addresses '\(mediation.serverAddress)' and '\(mediation.consumerAddress)' "
          + "are not two IP addresses of one family")
    }
    return VXLANParameters(
      networkIdentifier: mediation.vni, local: role == .server ? server : consumer,
      remote: role == .server ? consumer : server, port: port)
  }
}

extension VirtualFunctionSettings {
  /// What is asked of a card for one of its functions, without the MAC address.
  init(_ attributes: EthernetAttributes) throws(PluginError) {
    self.init()
    if let identifier = attributes.vlan {
      let tagProtocol: VLANTag.TagProtocol = attributes.vlanProtocol == .ieee8021ad ? .provider : .customer
      guard let number = UInt16(exactly: identifier), let priority = UInt8(exactly: attributes.vlanPriority ?? 0),
        let tag = VLANTag(identifier: number, priority: priority, tagProtocol: tagProtocol), number > 0
      else {
        throw PluginError(
          .invalidArgument,
          "VLAN \(identifier) with priority \(attributes.vlanPriority ?? 0) is none: VLANs are 1 to 4094, priorities 0 to 7"
        )
      }
      vlan = .tag(tag)
    }
    maximumTransmitBitsPerSecond = attributes.maxTransmitBitsPerSecond.flatMap { $0 == 0 ? nil : $0 }
    minimumTransmitBitsPerSecond = attributes.minTransmitBitsPerSecond.flatMap { $0 == 0 ? nil : $0 }
    spoofCheck = attributes.spoofCheck
    trust = attributes.trust
    rssQuery = attributes.rssQuery
    switch attributes.linkState {
    case .auto: linkState = .automatic
    case .enabled: linkState = .enabled
    case .disabled: linkState = .disabled
    case .unspecified, .unrecognized: break
    }
  }
}

extension PluginError {
  /// The kernel's refusals, sorted by whether trying again can help.
  init(_ error: any Error) {
    switch error {
    case let error as PluginError: self = error
    case let error as NetworkNamespaceError:
      switch error {
      case .missing: self.init(.notFound, "\(error); make it, or name another one in the claim")
      case .invalidName: self.init(.invalidArgument, error.description)
      case .system: self.init(.unavailable, error.description)
      }
    case let error as NetlinkError: self.init(Self.code(error.errno), error.description)
    case let error as SRIOVError: self.init(.failedPrecondition, error.description)
    case let error as BindingError: self.init(error.code, error.description)
    case let error as ResetError: self.init(error.code, error.description)
    case let error as SysfsError: self.init(Self.code(error.errno), error.description)
    case let error as InexpressibleRate: self.init(.invalidArgument, error.description)
    default: self.init(.internalError, String(describing: error))
    }
  }

  private static func code(_ errno: CInt) -> StatusCode {
    switch errno {
    case EPERM, EACCES: .permissionDenied
    case EEXIST, EADDRINUSE, ENOTUNIQ: .alreadyExists
    case EINVAL, ERANGE, EADDRNOTAVAIL, EAFNOSUPPORT: .invalidArgument
    case EOPNOTSUPP, EPROTONOSUPPORT: .failedPrecondition
    // What was there a moment ago is gone, or something else was quicker: the next attempt looks again.
    default: .unavailable
    }
  }
}

extension BindingError {
  /// Whether trying again can help.
  fileprivate var code: StatusCode {
    switch self {
    case .vanished, .refused: .unavailable
    case .noGroup, .hasVirtualFunctions, .groupShared, .noDriver, .notTaken, .noDeviceFile: .failedPrecondition
    }
  }
}

extension ResetError {
  fileprivate var code: StatusCode {
    switch self {
    case .vanished, .refused, .silent: .unavailable
    case .driven, .notOffered: .failedPrecondition
    }
  }
}
