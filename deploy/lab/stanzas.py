"""What can be read off a stanza."""

from xml.etree.ElementTree import Element

from deploy.lab.heard import Heard

CLIENT = "jabber:client"
MUC = "http://jabber.org/protocol/muc"
MUC_USER = f"{MUC}#user"
MUC_OWNER = f"{MUC}#owner"
MUC_ADMIN = f"{MUC}#admin"
DISCO_INFO = "http://jabber.org/protocol/disco#info"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
MAM = "urn:xmpp:mam:2"
RSM = "http://jabber.org/protocol/rsm"
SID = "urn:xmpp:sid:0"
SELF = "110"


def bare(jid: str) -> str:
    """Return a JID without its resource."""
    return jid.partition("/")[0]


def resource(jid: str) -> str:
    """Return the resource of a JID: in a room, the nick."""
    return jid.partition("/")[2]


def tag(name: str, namespace: str = CLIENT) -> str:
    """Return a name as ElementTree writes it."""
    return f"{{{namespace}}}{name}"


def ping() -> Element:
    """Return the question whether somebody is there (XEP-0199)."""
    return Element("ping", {"xmlns": "urn:xmpp:ping"})


def condition(stanza: Element) -> str:
    """Name the error of a stanza; empty if it is none."""
    error = stanza.find(tag("error"))
    if error is None:
        return ""
    return next((c.tag.rpartition("}")[2] for c in error if STANZAS in c.tag), "?")


def statuses(presence: Element) -> set[str]:
    """Return the status codes of a presence of a room."""
    path = f"{tag('x', MUC_USER)}/{tag('status', MUC_USER)}"
    return {status.get("code", "") for status in presence.findall(path)}


def heard(stanza: Element, text: str) -> Heard:
    """Read a message as its reader sees it."""
    sender = stanza.get("from", "")
    groupchat = stanza.get("type") == "groupchat"
    speaker = resource(sender) if groupchat else bare(sender)
    return Heard(bare(sender), speaker, text, stanza.get("id", ""), raw=stanza)


def stanza_id(stanza: Element, room: str) -> str:
    """Return the id that *room* gave to a message (XEP-0359)."""
    found = stanza.findall(tag("stanza-id", SID))
    ids = [one.get("id", "") for one in found if one.get("by") == room]
    return ids[0] if len(ids) == 1 else ""
