"""What `crl list` shows: the names that a config can give, a line or more each, and a page on one of them."""

from crl.listing.kinds import REGISTRIES, Kind
from crl.listing.lists import listed, registered_by, suite
from crl.listing.page import Page, pages

__all__ = ["REGISTRIES", "Kind", "Page", "listed", "pages", "registered_by", "suite"]
