"""A run, or a list of mistakes, on one page of HTML that needs nothing but itself."""

from papermage_core.evaluation.report.page import report_html, write_error_page, write_report

__all__ = ["report_html", "write_error_page", "write_report"]
