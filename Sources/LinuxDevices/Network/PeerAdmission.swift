import CLinux
import Glibc

/// Which peer may send into which VXLAN network, kept by nf_tables in a host's namespace.
///
/// The kernel's VXLAN takes packets for a network identifier from any source address, so another host, or a tenant that
/// can send UDP to the mediation address, could inject frames. A rule on packets to this host drops those for one of our
/// networks that do not come from its peer to the tunnel's own address. Networks that we do not know are not our business
/// and pass.
///
/// Everything is in the table `iov` of the address family: the set `networks` of {UDP port, VNI}, the set `peers` of {UDP port,
/// VNI, source address, destination address}, and the chain `admission` with one rule. The table goes with its last peer.
public struct PeerAdmission: Sendable {
  public static let table = "iov"

  private static let sets = ["networks", "peers"]

  private let socket: NetlinkSocket

  public init(in namespace: NetworkNamespace) throws {
    socket = try NetlinkSocket(.netfilter, in: namespace)
  }

  /// Lets the tunnel's remote address send to it, and nobody else. Twice is once.
  ///
  /// What is there is looked up first: a transaction that the kernel has to take back waits for all readers of the
  /// rules, some ten milliseconds.
  public func admit(_ tunnel: VXLANParameters) throws(NetlinkError) {
    let peer = try Peer(tunnel)
    let elements = Self.sets.map { peer.element(of: $0, NFT_MSG_NEWSETELEM, flags: NLM_F_CREATE) }
    if try networkKeys(peer.family) != nil, try commitUnlessAbsent(elements) { return }
    try commit(peer.tableRequests + elements)
  }

  /// The tunnel's remote address may not send to it any more, and nobody may to a network that has no peer left; the last one
  /// takes the table with it. A peer that is not there is no error.
  public func revoke(_ tunnel: VXLANParameters) throws(NetlinkError) {
    let peer = try Peer(tunnel)
    guard let networks = try networkKeys(peer.family) else { return }
    let peers = try keys(in: "peers", peer.family) ?? []
    let isLast = !peers.contains { $0 != peer.peerKey && $0.starts(with: peer.networkKey) }
    if isLast, networks.allSatisfy({ $0 == peer.networkKey }) {
      try commitUnlessAbsent([peer.deleteTable])
      return
    }
    var requests: [NetlinkRequest] = []
    for (set, known) in [("networks", isLast ? networks : []), ("peers", peers)] where known.contains(peer.key(in: set))
    {
      requests.append(peer.element(of: set, NFT_MSG_DELSETELEM, flags: 0))
    }
    if !requests.isEmpty { try commitUnlessAbsent(requests) }
  }

  /// Whether the peer is admitted, and with it whether others are kept out.
  public func isAdmitted(_ tunnel: VXLANParameters) throws(NetlinkError) -> Bool {
    let peer = try Peer(tunnel)
    let peers = try keys(in: "peers", peer.family) ?? []
    let networks = try networkKeys(peer.family) ?? []
    return peers.contains(peer.peerKey) && networks.contains(peer.networkKey)
  }

  /// Whether our table exists for either address family.
  public func isActive() throws(NetlinkError) -> Bool {
    for family in [NFPROTO_IPV4, NFPROTO_IPV6] {
      if try networkKeys(family) != nil { return true }
    }
    return false
  }

  private func networkKeys(_ family: UInt8) throws(NetlinkError) -> [[UInt8]]? { try keys(in: "networks", family) }

  /// Nil: the table is not there.
  private func keys(in set: String, _ family: UInt8) throws(NetlinkError) -> [[UInt8]]? {
    let request = NetlinkRequest(tableMessage(NFT_MSG_GETSETELEM), operation: "list the admitted peers") {
      $0.append(nfgenmsg(family))
      $0.attribute(Int(NFTA_SET_ELEM_LIST_TABLE.rawValue), Self.table)
      $0.attribute(Int(NFTA_SET_ELEM_LIST_SET.rawValue), set)
    }
    guard let replies = try socket.dumpIfPresent(request) else { return nil }
    return replies.flatMap { reply in
      let list = NetlinkAttributes(reply.payload.dropFirst(4)).nested(Int(NFTA_SET_ELEM_LIST_ELEMENTS.rawValue))
      return (list?.inOrder ?? []).compactMap { element in
        NetlinkAttributes(element.value).nested(Int(NFTA_SET_ELEM_KEY.rawValue))?[Int(NFTA_DATA_VALUE.rawValue)].map(
          Array.init)
      }
    }
  }

  /// False: something that the requests name is not there, and nothing was done.
  @discardableResult
  private func commitUnlessAbsent(_ requests: [NetlinkRequest]) throws(NetlinkError) -> Bool {
    do {
      try commit(requests)
      return true
    } catch {
      if error.isAbsence { return false }
      throw error
    }
  }

  private static func frame(_ type: Int32) -> NetlinkRequest {
    NetlinkRequest(type, operation: "commit to nf_tables") {
      // The subsystem stands where other messages have nothing.
      $0.append(nfgenmsg(UInt8(AF_UNSPEC), resource: UInt16(NFNL_SUBSYS_NFTABLES)))
    }
  }

  /// One transaction: all of it or nothing.
  private func commit(_ requests: [NetlinkRequest]) throws(NetlinkError) {
    let batch = [Self.frame(0x10)] + requests + [Self.frame(0x11)]  // NFNL_MSG_BATCH_BEGIN, _END
    let acknowledged = [false] + requests.map { _ in true } + [false]
    for result in try socket.exchange(batch, acknowledged: acknowledged) { _ = try result.get() }
  }
}

private let NFPROTO_IPV4: UInt8 = 2
private let NFPROTO_IPV6: UInt8 = 10

/// The messages of one tunnel.
private struct Peer {
  let tunnel: VXLANParameters
  let family: UInt8
  let networkKey: [UInt8]
  let peerKey: [UInt8]

  init(_ tunnel: VXLANParameters) throws(NetlinkError) {
    guard let local = tunnel.local, let remote = tunnel.remote, local.isIPv4 == remote.isIPv4 else {
      throw NetlinkError(
        errno: EAFNOSUPPORT, kernelMessage: "a tunnel needs two addresses of one family", operation: "admit a peer")
    }
    self.tunnel = tunnel
    family = local.isIPv4 ? NFPROTO_IPV4 : NFPROTO_IPV6
    // Each part fills whole registers of 4 bytes, as the packet's bytes are loaded into them.
    let port = [UInt8(tunnel.port >> 8), UInt8(truncatingIfNeeded: tunnel.port), 0, 0]
    let identifier = tunnel.networkIdentifier
    let network = [16, 8, 0].map { UInt8(truncatingIfNeeded: identifier >> $0) } + [0]
    networkKey = port + network
    peerKey = networkKey + remote.octets + local.octets
  }

  /// Source and destination address stand side by side in both headers.
  var addressOffset: UInt32 { family == NFPROTO_IPV4 ? 12 : 8 }
  var addressLength: UInt32 { family == NFPROTO_IPV4 ? 8 : 32 }

  func key(in set: String) -> [UInt8] { set == "networks" ? networkKey : peerKey }

  func element(of set: String, _ type: nf_tables_msg_types, flags: Int32) -> NetlinkRequest {
    NetlinkRequest(
      tableMessage(type), flags: flags,
      operation: "\(type == NFT_MSG_NEWSETELEM ? "admit" : "revoke") a peer of network \(tunnel.networkIdentifier)"
    ) {
      $0.append(nfgenmsg(family))
      $0.attribute(Int(NFTA_SET_ELEM_LIST_TABLE.rawValue), PeerAdmission.table)
      $0.attribute(Int(NFTA_SET_ELEM_LIST_SET.rawValue), set)
      $0.nested(Int(NFTA_SET_ELEM_LIST_ELEMENTS.rawValue)) { list in
        list.nested(1) { element in
          element.nested(Int(NFTA_SET_ELEM_KEY.rawValue)) { $0.attribute(Int(NFTA_DATA_VALUE.rawValue), key(in: set)) }
        }
      }
    }
  }

  var deleteTable: NetlinkRequest {
    NetlinkRequest(tableMessage(NFT_MSG_DELTABLE), operation: "delete the table of admitted peers") {
      $0.append(nfgenmsg(family))
      $0.attribute(Int(NFTA_TABLE_NAME.rawValue), PeerAdmission.table)
    }
  }

  /// The table, its two sets, its chain and its rule. Exclusive: a table that somebody else made at the same moment fails
  /// this transaction as a whole, so that there is never a second rule.
  var tableRequests: [NetlinkRequest] {
    [
      request(NFT_MSG_NEWTABLE, "make the table of admitted peers") {
        $0.attribute(Int(NFTA_TABLE_NAME.rawValue), PeerAdmission.table)
      },
      set("networks", id: 1, keyLength: networkKey.count),
      set("peers", id: 2, keyLength: peerKey.count),
      request(NFT_MSG_NEWCHAIN, "make the chain of admitted peers") {
        $0.attribute(Int(NFTA_CHAIN_TABLE.rawValue), PeerAdmission.table)
        $0.attribute(Int(NFTA_CHAIN_NAME.rawValue), "admission")
        $0.attribute(Int(NFTA_CHAIN_TYPE.rawValue), "filter")
        $0.nested(Int(NFTA_CHAIN_HOOK.rawValue)) { hook in
          // NF_INET_LOCAL_IN, after reassembly and before UDP; before the usual filters.
          hook.attribute(Int(NFTA_HOOK_HOOKNUM.rawValue), bigEndian: UInt32(1))
          hook.attribute(Int(NFTA_HOOK_PRIORITY.rawValue), bigEndian: Int32(-10))
        }
      },
      request(NFT_MSG_NEWRULE, "make the rule of admitted peers") {
        $0.attribute(Int(NFTA_RULE_TABLE.rawValue), PeerAdmission.table)
        $0.attribute(Int(NFTA_RULE_CHAIN.rawValue), "admission")
        $0.nested(Int(NFTA_RULE_EXPRESSIONS.rawValue), ruleExpressions)
      },
    ]
  }

  private func request(
    _ type: nf_tables_msg_types, _ operation: String, _ body: (inout NetlinkPayload) -> Void
  ) -> NetlinkRequest {
    NetlinkRequest(tableMessage(type), flags: NLM_F_CREATE | NLM_F_EXCL, operation: operation) {
      $0.append(nfgenmsg(family))
      body(&$0)
    }
  }

  private func set(_ name: String, id: UInt32, keyLength: Int) -> NetlinkRequest {
    request(NFT_MSG_NEWSET, "make the set of \(name)") {
      $0.attribute(Int(NFTA_SET_TABLE.rawValue), PeerAdmission.table)
      $0.attribute(Int(NFTA_SET_NAME.rawValue), name)
      $0.attribute(Int(NFTA_SET_ID.rawValue), bigEndian: id)
      $0.attribute(Int(NFTA_SET_KEY_LEN.rawValue), bigEndian: UInt32(keyLength))
      // What `nft list` shows the parts as, six bits each: inet_service, mark (the nearest to a VNI that needs no more
      // description), and twice an address. The kernel does not look at it.
      let address: UInt32 = family == NFPROTO_IPV4 ? 7 : 8
      let network: UInt32 = 13 << 6 | 19
      let type = name == "networks" ? network : network << 12 | address << 6 | address
      $0.attribute(Int(NFTA_SET_KEY_TYPE.rawValue), bigEndian: type)
    }
  }

  /// `meta l4proto udp; {udp dport, vni} in networks; {udp dport, vni, source, destination} not in peers; drop`.
  private func ruleExpressions(_ list: inout NetlinkPayload) {
    let first = UInt32(NFT_REG32_00.rawValue)
    list.expression("meta") {
      $0.attribute(Int(NFTA_META_KEY.rawValue), bigEndian: UInt32(NFT_META_L4PROTO.rawValue))
      $0.attribute(Int(NFTA_META_DREG.rawValue), bigEndian: first)
    }
    list.expression("cmp") {
      $0.attribute(Int(NFTA_CMP_SREG.rawValue), bigEndian: first)
      $0.attribute(Int(NFTA_CMP_OP.rawValue), bigEndian: UInt32(NFT_CMP_EQ.rawValue))
      $0.nested(Int(NFTA_CMP_DATA.rawValue)) { $0.attribute(Int(NFTA_DATA_VALUE.rawValue), [UInt8(IPPROTO_UDP)]) }
    }
    list.load(NFT_PAYLOAD_TRANSPORT_HEADER, offset: 2, length: 2, register: first)
    // The VNI: three bytes, four after the eight of the UDP header. The byte behind it is the sender's to choose.
    list.load(NFT_PAYLOAD_TRANSPORT_HEADER, offset: 12, length: 3, register: first + 1)
    list.lookUp("networks", id: 1, register: first, inverted: false)
    list.load(NFT_PAYLOAD_NETWORK_HEADER, offset: addressOffset, length: addressLength, register: first + 2)
    list.lookUp("peers", id: 2, register: first, inverted: true)
    list.expression("immediate") {
      $0.attribute(Int(NFTA_IMMEDIATE_DREG.rawValue), bigEndian: UInt32(NFT_REG_VERDICT.rawValue))
      $0.nested(Int(NFTA_IMMEDIATE_DATA.rawValue)) { data in
        data.nested(Int(NFTA_DATA_VERDICT.rawValue)) {
          $0.attribute(Int(NFTA_VERDICT_CODE.rawValue), bigEndian: UInt32(0))  // NF_DROP
        }
      }
    }
  }
}

extension NetlinkPayload {
  fileprivate mutating func expression(_ name: String, _ body: (inout NetlinkPayload) -> Void) {
    nested(Int(NFTA_LIST_ELEM.rawValue)) { element in
      element.attribute(Int(NFTA_EXPR_NAME.rawValue), name)
      element.nested(Int(NFTA_EXPR_DATA.rawValue), body)
    }
  }

  fileprivate mutating func load(_ base: nft_payload_bases, offset: UInt32, length: UInt32, register: UInt32) {
    expression("payload") {
      $0.attribute(Int(NFTA_PAYLOAD_DREG.rawValue), bigEndian: register)
      $0.attribute(Int(NFTA_PAYLOAD_BASE.rawValue), bigEndian: UInt32(base.rawValue))
      $0.attribute(Int(NFTA_PAYLOAD_OFFSET.rawValue), bigEndian: offset)
      $0.attribute(Int(NFTA_PAYLOAD_LEN.rawValue), bigEndian: length)
    }
  }

  fileprivate mutating func lookUp(_ set: String, id: UInt32, register: UInt32, inverted: Bool) {
    expression("lookup") {
      $0.attribute(Int(NFTA_LOOKUP_SET.rawValue), set)
      $0.attribute(Int(NFTA_LOOKUP_SET_ID.rawValue), bigEndian: id)
      $0.attribute(Int(NFTA_LOOKUP_SREG.rawValue), bigEndian: register)
      if inverted { $0.attribute(Int(NFTA_LOOKUP_FLAGS.rawValue), bigEndian: UInt32(NFT_LOOKUP_F_INV.rawValue)) }
    }
  }
}

private func tableMessage(_ type: nf_tables_msg_types) -> UInt16 {
  UInt16(NFNL_SUBSYS_NFTABLES) << 8 | UInt16(type.rawValue)
}

extension nfgenmsg {
  fileprivate init(_ family: UInt8, resource: UInt16 = 0) {
    self.init(nfgen_family: family, version: UInt8(NFNETLINK_V0), res_id: resource.bigEndian)
  }
}
